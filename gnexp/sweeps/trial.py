"""One trial of a sweep: all its executions, one training for each seed, as a task that any process can run."""

import dataclasses
import functools
import gc
import pathlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from gnexp.analysis.intervals import interval95
from gnexp.config.stored import from_json
from gnexp.data.splits import Splits
from gnexp.errors import InterruptedTrainingError, UserError, first_line
from gnexp.training.console import Console
from gnexp.training.run import Execution, record_failure, train
from gnexp.training.traced import Kept
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from gnexp.workdir.result import Result

_LONGEST_MESSAGE = 300
# Seconds that an earlier process of a trial, for example on a lost node, may take to notice that it must end.
_PATIENCE = 60


@dataclasses.dataclass(frozen=True)
class Task:
    """One trial, as plain values that can be sent to another process.

    Attributes:
      trial_id: its name.
      directory: its folder in the sweep's workdir.
      config: of its first execution (`config.to_json`); each later one has the next seed.
      executions: how many there are.
      epochs: after how many each execution ends.
      promoted_from: the folder of the trial that it resumes, or None.
      group: its session group in the dashboard.
      hparams: what its row in the dashboard shows.
      command: the command line of the sweep.
    """

    trial_id: str
    directory: pathlib.Path
    config: Mapping[str, Any]
    executions: int
    epochs: int
    promoted_from: pathlib.Path | None
    group: str
    hparams: Mapping[str, bool | int | float | str]
    command: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Done:
    """The result of a task.

    Attributes:
      results: the `Result` of each finished execution.
      failure: why the trial failed, in one line, or None.
    """

    results: tuple[Result, ...]
    failure: str | None


# The result of one execution, or why it failed.
_Attempted = tuple[Result | None, str | None]
# Trains one execution, given its config, its folder and the results of the earlier ones.
_Attempt = Callable[[ConfigDict, pathlib.Path, list[Result]], _Attempted]


def run(task: Task, splits: Splits, console: Console, kept: Kept) -> Done:
    """Runs the executions that have not finished, each from where it stopped.

    The first one that fails ends the trial. What comes from outside of the trial is raised: a signal, a full disk, a
    folder that is in use.

    Args:
      task: the trial.
      splits: its dataset.
      console: where the progress is reported.
      kept: the network of the process's earlier trials.

    Raises:
      InterruptedTrainingError, OSError, UserError: as from `training.run.train`.
    """

    def attempt(config: ConfigDict, directory: pathlib.Path, earlier: list[Result]) -> _Attempted:
        try:
            execution = dataclasses.replace(_execution(task, config, earlier), kept=kept)
            return train(config, splits, directory, console, execution), None
        except (InterruptedTrainingError, UserError, OSError):
            raise
        except Exception as error:  # whatever TensorFlow, JAX or the network may raise, out of memory included
            kept.forget()
            (directory / files.TRACEBACK).write_text(traceback.format_exc())
            result.write_failure(directory, error)
            return None, _shortened(result.failed(directory))
        finally:
            if not kept:
                # Otherwise the graphs and compiled functions of every trial stay until the process ends.
                kept.forget()

    _spare_what_is_imported()
    return _each(task, attempt)


@functools.cache
def _spare_what_is_imported() -> None:
    """Spares the garbage collections a walk over what there is before the first training, such as all of TensorFlow."""
    gc.collect()
    gc.freeze()


def fail(task: Task, error: Exception) -> Done:
    """Records a failure of the first execution that has not finished, because its processes died.

    Raises:
      OSError, UserError: as from `run`.
    """

    def attempt(config: ConfigDict, directory: pathlib.Path, earlier: list[Result]) -> _Attempted:
        record_failure(directory, _execution(task, config, earlier), error)
        return None, _shortened(f"{type(error).__name__}: {error}")

    return _each(task, attempt)


def _each(task: Task, attempt: _Attempt) -> Done:
    results: list[Result] = []
    for number in range(task.executions):
        asked = from_json({**task.config, "seed": task.config["seed"] + number})
        directory = files.execution_folder(task.directory, asked.seed)
        with opened(directory, asked, _PATIENCE) as config:
            failure = _shortened(result.failed(directory))
            done = result.finished(directory)
            if not done and not failure:
                done, failure = attempt(config, directory, results)
        if failure:
            return Done(tuple(results), failure if task.executions == 1 else f"seed {asked.seed}: {failure}")
        results.append(done)
    return Done(tuple(results), None)


def _execution(task: Task, config: ConfigDict, earlier: list[Result]) -> Execution:
    def closing(best: float) -> dict[str, float]:
        scores = [*(done.best_value for done in earlier), best]
        if len(scores) < task.executions:
            return {}
        spread = interval95(scores)
        return {"executions": float(len(scores))} | ({} if spread is None else {"interval95": spread})

    start = task.promoted_from and files.execution_folder(task.promoted_from, config.seed) / files.CHECKPOINT
    return Execution(task.group, task.hparams, task.command, task.epochs, start, closing)


def _shortened(message: str | None) -> str | None:
    return message and first_line(message)[:_LONGEST_MESSAGE]
