"""One trial of a sweep: all its executions, one training for each seed, as a task that any process can do."""

import dataclasses
import pathlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from gnexp.analysis.intervals import interval95
from gnexp.config.stored import from_json
from gnexp.data.splits import Splits
from gnexp.errors import InterruptedTrainingError, UserError, first_line
from gnexp.training import backend
from gnexp.training.console import Console
from gnexp.training.run import Execution, record_failure, train
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from gnexp.workdir.result import Result

_LONGEST_MESSAGE = 300
# Seconds for the process that had a trial before, of a node that was lost say, to notice that it is no longer wanted.
_PATIENCE = 60


@dataclasses.dataclass(frozen=True)
class Task:
    """One trial, as plain values that can be sent to another process.

    Attributes:
      trial_id: its name.
      directory: its folder in the sweep's workdir.
      config: of its first execution (`config.to_json`); those after it have the seeds after its seed.
      executions: how many there are.
      epochs: after how many each ends.
      promoted_from: the folder of the trial that it goes on from, or None.
      group: its session group in the dashboard, with the `hparams` of its row.
      command: the sweep's.
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
    """What a task came to: the `Result` of each execution, or in one line why the trial failed."""

    results: tuple[Result, ...]
    failure: str | None


# What came of one execution, or why it failed; and what trains one, given its config, its folder and the results of
# those before it.
_Attempted = tuple[Result | None, str | None]
_Attempt = Callable[[ConfigDict, pathlib.Path, list[Result]], _Attempted]


def run(task: Task, splits: Splits, console: Console) -> Done:
    """Runs the executions that have not finished, each from where it was left off.

    After one that fails, those after it are not run. What comes from outside of the trial is raised: a signal, a full
    disk, a folder that is in use.

    Raises:
      InterruptedTrainingError, OSError, UserError: as from `training.run.train`.
    """

    def attempt(config: ConfigDict, directory: pathlib.Path, earlier: list[Result]) -> _Attempted:
        try:
            return train(config, splits, directory, console, _execution(task, config, earlier)), None
        except (InterruptedTrainingError, UserError, OSError):
            raise
        except Exception as error:  # whatever TensorFlow, JAX or the network may raise, out of memory included
            (directory / files.TRACEBACK).write_text(traceback.format_exc())
            result.write_failure(directory, error)
            return None, _shortened(result.failed(directory))
        finally:
            # Otherwise every trial's graphs and compiled functions stay for as long as the process.
            backend.forget()

    return _each(task, attempt)


def fail(task: Task, error: Exception) -> Done:
    """Records that an execution failed which no process came to the end of: the first that has not finished.

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
