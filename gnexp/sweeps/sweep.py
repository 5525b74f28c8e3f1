"""Runs a sweep: hands trials from an oracle to an executor until there are no more, whatever dies on the way."""

import collections
import contextlib
import itertools
import pathlib
import shutil
import sys
from collections.abc import Iterable

from keras_tuner.engine.trial import Trial, TrialStatus
from ml_collections import ConfigDict

from gnexp.analysis import effects, outcomes
from gnexp.analysis.intervals import interval95, with_spread
from gnexp.analysis.sweep import read_trials, swept
from gnexp.config import config_file, objective
from gnexp.config.paths import flatten
from gnexp.config.stored import to_json
from gnexp.data.splits import Splits
from gnexp.errors import GnexpError, InterruptedTrainingError
from gnexp.space.parse import parse_space
from gnexp.sweeps import console
from gnexp.sweeps.console import SweepConsole
from gnexp.sweeps.dashboard import SweepDashboard
from gnexp.sweeps.executors.executor import Executor
from gnexp.sweeps.executors.processes import Processes
from gnexp.sweeps.executors.serial import Serial
from gnexp.sweeps.oracles.create import count, create
from gnexp.sweeps.oracles.durable import Best
from gnexp.sweeps.trial import Done, Task
from gnexp.terminal.words import figure
from gnexp.training.loop import kernel
from gnexp.training.signals import stop_signals
from gnexp.workdir import files, result
from gnexp.workdir.folder import remove_checkpoint

BEST = "best.py"
_TOP = 10


def run(config: ConfigDict, splits: Splits, directory: pathlib.Path, ray_address: str | None = None) -> None:
    """Runs the trials that a sweep still lacks.

    The result of a trial is written first to its own folder, then to the oracle's files, and last to the dashboard and
    `best.py`. Whatever is missing after a kill is written when the sweep resumes.

    Args:
      config: as `folder.opened` gives it for the directory.
      splits: the config's dataset (`data.load.load`).
      directory: the workdir, opened by the caller.
      ray_address: of a Ray cluster, for the executor "ray"; with None it starts one on this machine.

    Raises:
      GnexpError: every one of the first `sweep.max_failures` trials failed.
      InterruptedTrainingError: SIGINT or SIGTERM came; everything is saved.
      OSError: for example, the disk is full; what was saved stays valid.
    """
    (directory / files.RESULT).unlink(missing_ok=True)
    if config.sweep.executor != "ray":
        kernel(config)  # Compiled here, before the progress is shown, and not once in every process.
    with stop_signals(directory) as received:
        sweep = _Sweep(config, directory)
        sweep.greet()
        with (
            sweep.console as shown,
            _executor(config, splits, directory, shown, received, ray_address) as executor,
        ):
            running = 0
            while True:
                while not received and running < executor.slots and (task := sweep.next()):
                    executor.submit(task)
                    running += 1
                if not running:
                    break
                try:
                    trial_id, done = executor.wait()
                except InterruptedTrainingError as error:
                    raise InterruptedTrainingError(error.signum, error.where, directory) from error
                running -= 1
                sweep.end(trial_id, done)
        if received:
            raise InterruptedTrainingError(received[0], "between two trials; everything is saved", directory)
    sweep.finish()


def _executor(
    config: ConfigDict,
    splits: Splits,
    directory: pathlib.Path,
    shown: SweepConsole,
    received: list[int],
    ray_address: str | None,
) -> contextlib.AbstractContextManager[Executor]:
    match config.sweep.executor:
        case "serial":
            return Serial(splits, shown)
        case "processes":
            return Processes(config, directory, shown, received)
        case "ray":
            from gnexp.sweeps.executors.ray import Ray  # optional, and takes a second

            return Ray(config, directory, shown, received, ray_address)
    raise ValueError(f"sweep.executor={config.sweep.executor!r}")


class _Sweep:
    """The oracle, and all that is kept in step with it; resumes a sweep where it stopped."""

    def __init__(self, config: ConfigDict, directory: pathlib.Path):
        self._config = config
        self._objective = objective.of(flatten(config))
        self._directory = directory
        self._space = parse_space(config)
        self._oracle = create(config, self._space)
        self._oracle.open(directory / files.ORACLE)
        self._dashboard = SweepDashboard(directory, config, self._space)
        self._tuners: dict[str, str] = {}  # trial id -> the oracle's name for the slot that runs it
        self._ended: collections.Counter[str] = collections.Counter()  # how many trials ended with each status
        there = {path.parents[1].name for path in (directory / files.TRIALS).glob("*/*/checkpoints")}
        self._with_checkpoints = there & self._oracle.trials.keys()  # Other folders are the user's.
        self.console = SweepConsole(count(config, self._space), config.objective)
        self._catch_up()
        self._show()

    def greet(self) -> None:
        """Says where the sweep resumes, if it does, and what was damaged."""
        if self._dashboard.lost:
            self.console.say(self._dashboard.lost)
        if self._oracle.trials:
            trials = count(self._config, self._space)
            self.console.say(f"resuming: {len(self._oracle.end_order)} of {trials} trials have ended already")

    def next(self) -> Task | None:
        """Returns the next trial to run, interrupted ones first, or None if there is none at the moment."""
        tuner = self._free_tuner()
        trial = self._oracle.create_trial(tuner)
        if trial.status != TrialStatus.RUNNING:
            return None
        self._tuners[trial.trial_id] = tuner
        self._with_checkpoints.add(trial.trial_id)
        values = trial.hyperparameters.values
        config = self._space.config(self._config, values)
        seeds = outcomes.seeds(values, self._config.sweep.executions)
        former = values.get(outcomes.FIRST_EPOCH) and values.get(outcomes.PROMOTED_FROM)
        return Task(
            trial_id=trial.trial_id,
            directory=files.trial_folder(self._directory, trial.trial_id),
            config={**to_json(config), "seed": config.seed + seeds.start},
            executions=len(seeds),
            epochs=values.get(outcomes.EPOCHS, config.epochs),
            promoted_from=files.trial_folder(self._directory, former) if former else None,
            group=self._dashboard.group(trial.trial_id),
            hparams=self._dashboard.hparams(config, values),
            command=tuple(sys.orig_argv),
        )

    def _free_tuner(self) -> str:
        """Returns the oracle's name for a slot: that of an interrupted trial first, otherwise a free one."""
        busy = set(self._tuners.values())
        for name in self._oracle.ongoing_trials:
            if name not in busy:
                return name
        return next(name for number in itertools.count() if (name := f"tuner{number}") not in busy)

    def end(self, trial_id: str, done: Done) -> None:
        """Records the result of a trial in the oracle, and in all that follows it."""
        del self._tuners[trial_id]
        trial = self._oracle.get_trial(trial_id)
        for each in done.results:
            # One step for all executions: keras-tuner then takes the mean of their best epochs as the score.
            self._oracle.update_trial(trial_id, {self._config.objective: each.best_value})
        seconds = sum(each.seconds for each in done.results)
        self._oracle.took(trial_id, seconds)
        trial.status = TrialStatus.FAILED if done.failure else TrialStatus.COMPLETED
        trial.message = done.failure
        self._oracle.end_trial(trial)
        self._catch_up()
        self._show()
        scores = [each.best_value for each in done.results]
        bounds = objective.bounds(self._objective.name)
        said = f"FAILED: {done.failure}" if done.failure else with_spread(trial.score, interval95(scores), bounds)
        self.console.ended(trial_id, trial.hyperparameters.values, said, seconds)

    def _catch_up(self) -> None:
        """Brings the dashboard, `best.py` and the checkpoints up to date with the oracle."""
        # Only what is new: a sweep may have thousands of trials.
        ended = [self._oracle.get_trial(trial_id) for trial_id in self._oracle.end_order[self._ended.total() :]]
        self._ended.update(trial.status for trial in ended)
        self._dashboard.note([trial.score for trial in ended])
        best = self._best = self._oracle.best()
        if best:
            self._write_best(best)
        needed = self._oracle.promotable() | {trial.trial_id for trial in self._oracle.ongoing_trials.values()}
        for trial_id in self._with_checkpoints - needed:
            for path in files.trial_folder(self._directory, trial_id).glob("*/checkpoints"):
                if best and best.trial.trial_id == trial_id:
                    remove_checkpoint(path.parent)
                else:
                    shutil.rmtree(path)
        self._with_checkpoints &= needed | ({best.trial.trial_id} if best else set())
        most = self._config.sweep.max_failures
        if len(first := self._oracle.end_order[:most]) == most:
            trials = map(self._oracle.get_trial, first)
            self._give_up_if_all_failed(trials, f"first {most} trials (config.sweep.max_failures)")

    def _give_up_if_all_failed(self, trials: Iterable[Trial], which: str) -> None:
        trials = list(trials)
        if any(trial.status != TrialStatus.FAILED for trial in trials):
            return
        (reason, count), *_ = collections.Counter(trial.message for trial in trials).most_common()
        error = GnexpError(f"the sweep stops: all of its {which} failed, {count} of them with {reason}")
        result.write_failure(self._directory, error)
        raise error

    def _write_best(self, best: Best) -> None:
        """Writes the config file that trains the best trial's network by itself."""
        name, score = best.trial.trial_id, f"{self._config.objective} {figure(best.score)}"
        title = f"Trial {name}, the best of a sweep: {score} (seeds: {best.seeds})."
        text = config_file.text(title, self._space.config(self._config, best.trial.hyperparameters.values))
        path = self._directory / BEST
        if not path.exists() or path.read_bytes() != text.encode():
            with files.atomic(path) as temporary:
                temporary.write_bytes(text.encode())

    def _show(self) -> None:
        best = self._best
        self.console.show(
            self._ended[TrialStatus.COMPLETED],
            self._ended[TrialStatus.FAILED],
            best and (best.trial.trial_id, best.score, best.trial.hyperparameters.values),
        )

    def finish(self) -> None:
        """Reports the results of the sweep, in the terminal and in `result.json`."""
        self._give_up_if_all_failed(self._oracle.trials.values(), f"{len(self._oracle.trials)} trials")
        found, asked = read_trials(self._directory), self._objective
        ended = swept(self._directory, self._config, self._space, found)
        statuses = collections.Counter(outcome.status for outcome in found)
        failures = {each.trial_id: each.message for each in found if each.status == outcomes.FAILED}
        top = [
            {
                "trial": each.trial_id,
                "mean": each.mean,
                "interval95": ended.intervals[each.trial_id][0],
                "scores": each.scores,
                "values": each.values,
            }
            for each in ended.best[:_TOP]
        ]
        record = {
            "status": result.SUCCESS,
            "objective": asked.name,
            "trials": statuses,
            "best": top,
            "failures": failures,
        }
        if ended_by := self._oracle.ended_by():
            record["ended_by"] = ended_by
        files.write_json(self._directory / files.RESULT, record)
        console.summary(
            self._directory,
            asked,
            ended.headline.name,
            [(each, ended.intervals[each.trial_id][0]) for each in ended.best[:_TOP]],
            failures,
            effects.effects(self._config, self._space, ended.counted),
            len(found),
        )
        if ended_by:
            self.console.say(f"\nnote: {ended_by}")
