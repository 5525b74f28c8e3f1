"""What a trial costs the sweep itself as the sweep grows: its oracle, files, dashboard and console, without training.

Run:      python -m benchmarks.growth
          python -m benchmarks.growth --tuners=racing --sizes=100,1000
Time:     10 minutes on 2 CPU cores.

A sweep of some trials is made by its oracle alone, and resumed; then an executor makes up the results of twenty more,
which is not counted. What a trial costs is the median of these. All of it is time of the processor, so that other work
on the machine hardly matters; waiting for the disk does not count. The report is of the same sweep.
"""

import contextlib
import math
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np
from absl import app, flags
from keras_tuner.engine.trial import TrialStatus
from ml_collections import ConfigDict

from benchmarks import measure
from configs import fmnist_sweep
from gnexp import report
from gnexp.analysis import outcomes
from gnexp.config.schema import TUNERS
from gnexp.config.stored import record
from gnexp.space import by, choice, floats
from gnexp.space.parse import parse_space
from gnexp.sweeps import sweep
from gnexp.sweeps.oracles.create import create
from gnexp.sweeps.trial import Done, Task
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from gnexp.workdir.result import Result

_OUT = flags.DEFINE_string("out", "build/benchmarks/growth.json", "Where the figures go.")
_SIZES = flags.DEFINE_list("sizes", ["100", "1000", "5000"], "After how many trials, in ascending order.")
_TUNERS = flags.DEFINE_list("tuners", list(TUNERS), "Which tuners.")

_MEASURED = 20


def config_of(tuner: str, trials: int) -> ConfigDict:
    """Returns the config of a sweep of about that many trials; a race continues half of those that it begins."""
    config = fmnist_sweep.get_config()
    racing = tuner == "racing"
    config.epochs, config.sweep.tuner, config.sweep.max_trials = 4, tuner, trials * 2 // 3 if racing else trials
    config.sweep.executions = 4 if racing else 1
    space = config.sweep.space = ConfigDict({"model": {}, "optimizer": {}, "data": {}})
    space.model.groups = choice(1, 2, 4, 8, 16)
    space.optimizer.name = choice("adam", "amsgrad", "rmsprop", "adamw", "sgd")
    adaptive = floats(1e-4, 1e-2, sampling="log")
    cases = dict.fromkeys(("adam", "amsgrad", "rmsprop", "adamw"), adaptive) | {
        "sgd": floats(1e-3, 0.1, sampling="log")
    }
    space.optimizer.learning_rate = by("optimizer.name", role="nuisance", **cases)
    space.model.epsilon = floats(1e-7, 1e-2, sampling="log", role="nuisance")
    space.data.batch_size = choice(16, 32, 64, role="nuisance")
    return config


class EnoughError(Exception):
    """As many trials as are measured have ended."""


def _train(config: ConfigDict, trial_id: str, values: Mapping[str, Any], directory: pathlib.Path) -> Result:
    """Writes and returns the made-up result of a training of a sweep."""
    seed, epochs = values.get(outcomes.SEED, 0), values.get(outcomes.EPOCHS, config.epochs)
    rng = np.random.default_rng((int(trial_id), seed))
    middle = 0.85 - 0.02 * (math.log10(values["optimizer.learning_rate"]) + 3) ** 2
    scores = [float(middle - 0.2 / epoch + rng.normal(0, 0.003)) for epoch in range(1, epochs + 1)]
    others = {"loss": 0.5, "val_loss": 0.5, "accuracy": 0.9, "learning_rate": 1e-3, "seconds": 1.0}
    history = [{"epoch": epoch, config.objective: score, **others} for epoch, score in enumerate(scores, 1)]
    best = max(scores)
    test = {"accuracy": best - 0.01, "loss": 0.5}
    asked, place, name = config.objective, 1 + scores.index(best), config.data.name
    done = Result(result.SUCCESS, name, config.data.validation, asked, best, place, test, 1.0, history)
    result.write(files.execution_folder(files.trial_folder(directory, trial_id), config.seed + seed), done)
    return done


class MadeUp:
    """An executor that makes up the results of some trials, and then raises EnoughError.

    Attributes:
      costs: the seconds that the sweep took for each trial but the first, which it resumed.
    """

    slots = 1

    def __init__(self, config: ConfigDict, directory: pathlib.Path):
        self.costs: list[float] = []
        self._config, self._directory = config, directory
        self._task: Task | None = None
        self._returned: float | None = None

    def submit(self, task: Task) -> None:
        """Takes a task."""
        self._task = task

    def wait(self) -> tuple[str, Done]:
        """Returns the task's result."""
        if self._returned is not None:
            self.costs.append(time.process_time() - self._returned)
        if len(self.costs) == _MEASURED:
            raise EnoughError
        values = files.read_json(self._directory / files.ORACLE / f"trial_{self._task.trial_id}" / "trial.json")
        found = values["hyperparameters"]["values"]
        done = _train(self._config, self._task.trial_id, found, self._directory)
        self._returned = time.process_time()
        return self._task.trial_id, Done((done,), None)


def _forward(config: ConfigDict, directory: pathlib.Path, trials: int) -> None:
    """Makes the workdir of a sweep of which some trials have ended, by its oracle alone; bayesian's are drawn."""
    oracle = create(config, parse_space(config))
    oracle.open(directory / files.ORACLE)
    if config.sweep.tuner == "bayesian":
        oracle.populate_space = lambda trial_id: oracle._random_populate_space()
    with mock.patch.object(oracle, "save"):
        for _ in range(trials):
            trial = oracle.create_trial("tuner0")
            done = _train(config, trial.trial_id, trial.hyperparameters.values, directory)
            oracle.update_trial(trial.trial_id, {config.objective: done.best_value})
            oracle.took(trial.trial_id, done.seconds)
            trial.status = TrialStatus.COMPLETED
            oracle.end_trial(trial)
    oracle.save()


def run(tuner: str, size: int, largest: int, directory: pathlib.Path) -> tuple[float, float]:
    """Returns the median seconds of a trial of a sweep of a size, and the seconds of its report."""
    config = record(config_of(tuner, largest), "fashion_mnist")
    quick = mock.patch("os.fsync"), mock.patch.object(sweep, "kernel")  # Nothing here has to survive a power cut.
    with opened(directory, config) as config, quick[0], quick[1], _quiet():
        _forward(config, directory, size - _MEASURED)
        made_up = MadeUp(config, directory)
        executor = mock.patch.object(sweep, "_executor", lambda *_: contextlib.nullcontext(made_up))
        with executor, contextlib.suppress(EnoughError):
            sweep.run(config, None, directory)
        began = time.process_time()
        report.report(directory)
    return statistics.median(made_up.costs), time.process_time() - began


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with pathlib.Path("/dev/null").open("w") as sink, contextlib.redirect_stdout(sink):
        yield


def main(_: list[str]) -> None:
    """Prints the table, and writes it as JSON."""
    sizes, figures, rows = [int(size) for size in _SIZES.value], {}, []
    for tuner in _TUNERS.value:
        figures[tuner] = {}
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                trial, page = run(tuner, size, sizes[-1], pathlib.Path(folder) / "sweep")
            figures[tuner][str(size)] = {"trial": trial, "report": page}
            print(tuner, size, f"{1000 * trial:.1f} ms a trial, {page:.1f} s for the report", flush=True)
        measure.write(_OUT.value, {"tuners": figures})
        found = figures[tuner].values()
        rows.append(
            [tuner, *(f"{1000 * each['trial']:.0f}" for each in found), *(f"{each['report']:.1f}" for each in found)]
        )
    headers = ["tuner", *(f"ms at {size}" for size in sizes), *(f"report at {size} (s)" for size in sizes)]
    measure.show(rows, headers)


if __name__ == "__main__":
    app.run(main)
