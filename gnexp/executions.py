"""One trial of a sweep: all its executions, one training for each seed, as a task that any process can do."""

import dataclasses
import pathlib
import traceback
from collections.abc import Mapping
from typing import Any

from gnexp import backend, data, outcomes, result, trial, workdir
from gnexp import config as configs
from gnexp.console import Console
from gnexp.errors import InterruptedTrainingError, UserError
from gnexp.result import Result

_LONGEST_MESSAGE = 300


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
    """

    trial_id: str
    directory: pathlib.Path
    config: Mapping[str, Any]
    executions: int
    epochs: int
    promoted_from: pathlib.Path | None
    group: str
    hparams: Mapping[str, bool | int | float | str]


@dataclasses.dataclass(frozen=True)
class Done:
    """What a task came to: the `Result` of each execution, or in one line why the trial failed."""

    results: tuple[Result, ...]
    failure: str | None


def run(task: Task, splits: data.Splits, console: Console) -> Done:
    """Runs the executions that have not finished, each from where it was left off.

    After one that fails, those after it are not run. What comes from outside of the trial is raised: a signal, a full
    disk, a folder that is in use.

    Raises:
      InterruptedTrainingError, OSError, UserError: as from `trial.run`.
    """
    results: list[Result] = []
    for number in range(task.executions):
        asked = configs.from_json({**task.config, "seed": task.config["seed"] + number})
        directory = outcomes.execution(task.directory, asked.seed)
        with workdir.opened(directory, asked) as config:
            failure = _one_line(result.failed(directory))
            done = result.finished(directory)
            if not done and not failure:
                done, failure = _train(task, config, splits, directory, console, results)
        if failure:
            return Done(tuple(results), failure if task.executions == 1 else f"seed {asked.seed}: {failure}")
        results.append(done)
    return Done(tuple(results), None)


def _train(task: Task, config, splits, directory, console, earlier: list[Result]) -> tuple[Result | None, str | None]:
    def closing(best: float) -> dict[str, float]:
        scores = [*(done.best_value for done in earlier), best]
        if len(scores) < task.executions:
            return {}
        spread = outcomes.interval95(scores)
        return {"executions": float(len(scores))} | ({} if spread is None else {"interval95": spread})

    start = task.promoted_from and outcomes.execution(task.promoted_from, config.seed) / workdir.CHECKPOINT
    execution = trial.Execution(task.group, task.hparams, task.epochs, start, closing)
    try:
        return trial.run(config, splits, directory, console, execution), None
    except (InterruptedTrainingError, UserError, OSError):
        raise
    except Exception as error:  # whatever TensorFlow, JAX or the network may raise, out of memory included
        (directory / workdir.TRACEBACK).write_text(traceback.format_exc())
        result.write_failure(directory, error)
        return None, _one_line(result.failed(directory))
    finally:
        # Or else every trial's graphs and compiled functions stay for as long as the process.
        backend.forget()


def _one_line(message: str | None) -> str | None:
    return message and message.strip().splitlines()[0][:_LONGEST_MESSAGE]
