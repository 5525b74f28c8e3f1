"""What a trial costs the sweep itself as the sweep grows: its oracle, files, dashboard and console, without training.

Run:      python -m benchmarks.growth
          python -m benchmarks.growth --tuners=racing --sizes=100,1000
Time:     see docs/performance.md.

A whole sweep runs, except that an executor makes up each training's result, which is not counted. What a trial costs is
the mean of the last tenth of the trials up to a size, at most 100. The report is made when the sweep has ended. All of
it is time of the processor, so that other work on the machine hardly matters; waiting for the disk does not count.
"""

import contextlib
import math
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from benchmarks import measure
from configs import fmnist_sweep
from gnexp import report
from gnexp.config.schema import TUNERS
from gnexp.config.stored import record
from gnexp.space import by, choice, floats
from gnexp.sweeps import sweep
from gnexp.sweeps.trial import Done, Task
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from gnexp.workdir.result import Result

_OUT = flags.DEFINE_string("out", "build/benchmarks/growth.json", "Where the figures go.")
_SIZES = flags.DEFINE_list("sizes", ["100", "1000", "5000"], "After how many trials, in ascending order.")
_TUNERS = flags.DEFINE_list("tuners", list(TUNERS), "Which tuners.")

_LAST = 100


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


class MadeUp:
    """An executor that makes up the results.

    Attributes:
      costs: the seconds that the sweep took before each call of `wait`, which is once for each trial.
    """

    slots = 1

    def __init__(self):
        self.costs: list[float] = []
        self._task: Task | None = None
        self._returned = time.process_time()

    def submit(self, task: Task) -> None:
        """Takes a task."""
        self._task = task

    def wait(self) -> tuple[str, Done]:
        """Returns the task's result."""
        self.costs.append(time.process_time() - self._returned)
        task = self._task
        done = tuple(self._train(task, seed) for seed in range(task.executions))
        self._returned = time.process_time()
        return task.trial_id, Done(done, None)

    def _train(self, task: Task, number: int) -> Result:
        config = task.config
        rng = np.random.default_rng((int(task.trial_id), number))
        middle = 0.85 - 0.02 * (math.log10(config["optimizer"]["learning_rate"]) + 3) ** 2
        history = [
            {
                "epoch": epoch,
                "loss": 0.5,
                "val_loss": 0.5,
                "accuracy": 0.9,
                "val_accuracy": float(middle - 0.2 / epoch + rng.normal(0, 0.003)),
                "learning_rate": 1e-3,
                "seconds": 1.0,
            }
            for epoch in range(1, task.epochs + 1)
        ]
        best = max(history, key=lambda figures: figures["val_accuracy"])
        test = {"accuracy": best["val_accuracy"] - 0.01, "loss": 0.5}
        done = Result(
            result.SUCCESS,
            "fashion_mnist",
            config["data"]["validation"],
            config["objective"],
            best["val_accuracy"],
            best["epoch"],
            test,
            1.0,
            history,
        )
        result.write(files.execution_folder(task.directory, config["seed"] + number), done)
        return done


def run(tuner: str, sizes: list[int], directory: pathlib.Path) -> dict[str, Any]:
    """Returns the seconds per trial at each size, and those of the report."""
    config, made_up = record(config_of(tuner, sizes[-1]), "fashion_mnist"), MadeUp()
    executor = mock.patch.object(sweep, "_executor", lambda *_: contextlib.nullcontext(made_up))
    quick = mock.patch("os.fsync"), mock.patch.object(sweep, "kernel")  # Nothing here has to survive a power cut.
    with opened(directory, config) as config, executor, quick[0], quick[1], _quiet():
        sweep.run(config, None, directory)
        began = time.process_time()
        report.report(directory)
        took = time.process_time() - began
    found: dict[str, Any] = {"trials": len(made_up.costs), "report": took}
    for size in sizes:
        if size <= len(made_up.costs):
            last = made_up.costs[:size][-min(_LAST, max(1, size // 10)) :]
            found[str(size)] = sum(last) / len(last)
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with pathlib.Path("/dev/null").open("w") as sink, contextlib.redirect_stdout(sink):
        yield


def main(_: list[str]) -> None:
    """Prints the table, and writes it as JSON."""
    sizes, figures = [int(size) for size in _SIZES.value], {}
    for tuner in _TUNERS.value:
        with tempfile.TemporaryDirectory() as folder:
            figures[tuner] = run(tuner, sizes, pathlib.Path(folder) / "sweep")
        measure.write(_OUT.value, {"tuners": figures})
        print(tuner, figures[tuner], flush=True)
    names = [str(size) for size in sizes]
    rows = [
        [
            tuner,
            row["trials"],
            *(f"{1000 * row[name]:.0f}" if name in row else "" for name in names),
            f"{row['report']:.1f}",
        ]
        for tuner, row in figures.items()
    ]
    measure.show(rows, ["tuner", "trials", *(f"ms a trial at {name}" for name in names), "report in s"])


if __name__ == "__main__":
    app.run(main)
