"""The outcomes of a sweep's trials, and their ranking."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from gnexp.analysis.intervals import interval95
from gnexp.config.objective import Objective
from gnexp.workdir.result import Result

COMPLETED = "completed"
FAILED = "failed"
RUNNING = "running"
PROMOTED_FROM = "tuner/trial_id"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One trial of a sweep.

    Attributes:
      trial_id: four digits.
      values: the hyperparameters by dotted path; a hyperband trial also has `tuner/...` entries.
      status: COMPLETED, FAILED or RUNNING.
      message: why it failed, or None.
      results: the `Result` of each finished execution, in the order of the seeds.
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
        """The trial's score: the mean over its executions; None if it did not complete."""
        return statistics.fmean(self.scores) if self.status == COMPLETED else None

    @property
    def interval(self) -> float | None:
        """Half the width of the mean's 95% interval; None with fewer than two executions."""
        return interval95(self.scores) if self.status == COMPLETED else None


def ranked(outcomes: Sequence[Outcome], objective: Objective) -> list[Outcome]:
    """Returns the completed trials, the best first; equal ones keep their order."""
    completed = (outcome for outcome in outcomes if outcome.mean is not None)
    return objective.ranked(completed, key=lambda outcome: outcome.mean)


def final(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the trials without those that another, completed one resumed, as hyperband's promotions do."""
    continued = {outcome.values.get(PROMOTED_FROM) for outcome in outcomes if outcome.status == COMPLETED}
    return [outcome for outcome in outcomes if outcome.trial_id not in continued]


def best_so_far(scores: Sequence[float | None], objective: Objective) -> list[float | None]:
    """Returns the best of the first, the first two, ... trials; None while none has completed."""
    curve: list[float | None] = []
    for score in scores:
        known = [value for value in (score, curve[-1] if curve else None) if value is not None]
        curve.append(objective.best(known))
    return curve
