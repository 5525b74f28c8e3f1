"""What came of a sweep's trials: read from its workdir, without TensorFlow, also while the sweep runs."""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from scipy import stats

from gnexp import result, workdir
from gnexp.config import OBJECTIVES
from gnexp.errors import UserError
from gnexp.result import Result

COMPLETED = "completed"
FAILED = "failed"
RUNNING = "running"

ORACLE = "oracle"
TRIALS = "trials"
PROMOTED_FROM = "tuner/trial_id"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One trial of a sweep.

    Attributes:
      trial_id: four digits.
      values: the hyperparameters by dotted path; a hyperband trial has `tuner/...` entries besides.
      status: COMPLETED, FAILED or RUNNING.
      message: why it failed, or None.
      results: the `Result` of each execution that finished, in the order of their seeds.
    """

    trial_id: str
    values: dict[str, Any]
    status: str
    message: str | None
    results: tuple[Result, ...]

    @property
    def scores(self) -> list[float]:
        """The objective's best value of each execution."""
        return [done.best_value for done in self.results]

    @property
    def mean(self) -> float | None:
        """The trial's score: the mean over its executions; None where it did not complete."""
        return statistics.fmean(self.scores) if self.status == COMPLETED else None

    @property
    def interval(self) -> float | None:
        """Half the width of the mean's 95% interval; None with fewer than two executions."""
        return interval95(self.scores) if self.status == COMPLETED else None


def interval95(values: Sequence[float]) -> float | None:
    """Returns half the width of the 95% interval of a mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def folder(directory: pathlib.Path, trial_id: str) -> pathlib.Path:
    """Returns where a trial of the sweep in `directory` lies; each of its executions has a folder in it."""
    return directory / TRIALS / trial_id


def execution(trial: pathlib.Path, seed: int) -> pathlib.Path:
    """Returns where the execution with a seed lies in the folder of its trial."""
    return trial / f"seed-{seed}"


def read(directory: pathlib.Path) -> list[Outcome]:
    """Returns the trials of the sweep in a workdir, in the order in which they were created.

    Raises:
      UserError: there is no sweep.
    """
    config = workdir.read_json(directory / workdir.CONFIG)
    if not isinstance(config, dict) or "sweep" not in config:
        raise UserError(f"--workdir={directory} holds no sweep")
    files = sorted((directory / ORACLE).glob("trial_*/trial.json"))
    return [
        _read(directory, path, range(config["seed"], config["seed"] + config["sweep"]["executions"])) for path in files
    ]


def _read(directory: pathlib.Path, path: pathlib.Path, seeds: range) -> Outcome:
    state = workdir.read_json(path)
    trial = folder(directory, state["trial_id"])
    found = [result.finished(execution(trial, seed)) for seed in seeds]
    if state["status"] == "COMPLETED" and not all(found):
        raise UserError(f"{trial} lacks a result.json of a trial that completed: restore it")
    return Outcome(
        trial_id=state["trial_id"],
        values=state["hyperparameters"]["values"],
        status={"COMPLETED": COMPLETED, "RUNNING": RUNNING}.get(state["status"], FAILED),
        message=state["message"],
        results=tuple(done for done in found if done),
    )


def ranked(outcomes: Sequence[Outcome], objective: str) -> list[Outcome]:
    """Returns the completed trials, the best first; of equals the earlier one."""
    sign = -1 if OBJECTIVES[objective] == "max" else 1
    return sorted((outcome for outcome in outcomes if outcome.mean is not None), key=lambda each: sign * each.mean)


def final(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the trials without those that another one went on from to its end, as hyperband's do."""
    continued = {outcome.values.get(PROMOTED_FROM) for outcome in outcomes if outcome.status == COMPLETED}
    return [outcome for outcome in outcomes if outcome.trial_id not in continued]


def best_so_far(scores: Sequence[float | None], objective: str) -> list[float | None]:
    """Returns the best of the first, the first two, ... trials; None while none has completed."""
    better = max if OBJECTIVES[objective] == "max" else min
    curve: list[float | None] = []
    for score in scores:
        known = [value for value in (score, curve[-1] if curve else None) if value is not None]
        curve.append(better(known) if known else None)
    return curve
