"""The outcomes of a sweep's trials, and their ranking."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gnexp.analysis.intervals import interval95
from gnexp.config.objective import Objective
from gnexp.workdir.result import Result

COMPLETED = "completed"
FAILED = "failed"
RUNNING = "running"
# What a tuner records of a trial beside its hyperparameters: the trial that it continues, and after which epoch; after
# which it ends; and the number of its seed, in a race, where each trial has one seed.
PROMOTED_FROM, FIRST_EPOCH, EPOCHS, SEED = "tuner/trial_id", "tuner/initial_epoch", "tuner/epochs", "tuner/seed"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One trial of a sweep.

    Attributes:
      trial_id: four digits.
      values: the hyperparameters by dotted path; a trial of hyperband or racing also has `tuner/...` entries.
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


def seeds(values: Mapping[str, Any], executions: int) -> range:
    """Returns the numbers of a trial's seeds, of as many as there may be: all, or in a race a single one."""
    return range(executions)[values[SEED] :][:1] if SEED in values else range(executions)


def own_seed(values: Mapping[str, Any], seed: int) -> int:
    """Returns the seed of a trial's own first training, where `seed` is that of a sweep; in a race it may be later."""
    return seed + values.get(SEED, 0)


def standing(values: Mapping[str, Any], seeds: int) -> tuple[int, ...]:
    """Returns how far a trial has come in a race: its epochs, and whether it has more than one seed; () without one."""
    return (values[EPOCHS], min(seeds, 2)) if SEED in values else ()


def ranked(outcomes: Sequence[Outcome], objective: Objective) -> list[Outcome]:
    """Returns the completed trials, the best first; equal ones keep their order.

    In a race the trials with all epochs and several seeds come before those that it dropped.
    """
    completed = (outcome for outcome in outcomes if outcome.mean is not None)
    found = objective.ranked(completed, key=lambda outcome: outcome.mean)
    return sorted(found, key=lambda outcome: standing(outcome.values, len(outcome.results)), reverse=True)


def chosen(outcomes: Sequence[Outcome], objective: Objective) -> Outcome | None:
    """Returns the best completed trial of one combination; in a race, of those with the most seeds."""
    found = ranked(outcomes, objective)
    return max(found, key=lambda outcome: len(outcome.results) if SEED in outcome.values else 0, default=None)


def final(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the trials without those that another, completed one continued, as promotions in hyperband do.

    In a race, a trial with a further seed has the results of the trials with the seeds before it as well; and where it
    failed, so has all that it continued. It is left out if one of those is not among `outcomes`, which are then only
    those that can be read.
    """
    by_id = {outcome.trial_id: outcome for outcome in outcomes}
    continued = {
        outcome.values.get(PROMOTED_FROM)
        for outcome in outcomes
        if outcome.status == COMPLETED or (outcome.status == FAILED and SEED in outcome.values)
    }
    last = [_with_earlier_seeds(outcome, by_id) for outcome in outcomes if outcome.trial_id not in continued]
    return [outcome for outcome in last if outcome]


def _with_earlier_seeds(outcome: Outcome, by_id: Mapping[str, Outcome]) -> Outcome | None:
    results, first = outcome.results, outcome
    while outcome.status == COMPLETED and first.values.get(SEED, 0) > 0:
        if (first := by_id.get(first.values[PROMOTED_FROM])) is None:
            return None
        results = first.results + results
    return outcome if first is outcome else dataclasses.replace(outcome, results=results)


def best_so_far(scores: Sequence[float | None], objective: Objective) -> list[float | None]:
    """Returns the best of the first, the first two, ... trials; None while none has completed."""
    curve: list[float | None] = []
    for score in scores:
        known = [value for value in (score, curve[-1] if curve else None) if value is not None]
        curve.append(objective.best(known))
    return curve
