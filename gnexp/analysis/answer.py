"""What a sweep answers, as Google's tuning playbook asks it.

For every combination of the scientific hyperparameters, the nuisance ones are chosen by the objective on the validation
set; only then do these trials' test figures count, and of them what seeds alone do not explain. The combination that
the others are compared with is the config's own, lest the data choose the comparisons.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from gnexp.analysis import outcomes
from gnexp.analysis.intervals import has_spread, holm, interval95, paired_p
from gnexp.analysis.outcomes import Outcome
from gnexp.analysis.sweep import Swept
from gnexp.config.paths import flatten
from gnexp.space.domain import Entry, in_order, is_number

_LEVEL = 0.05
_EDGE = 0.1  # of a range, at either end
_DIGITS = 9  # of an accuracy: what comes after these is the rounding of floats
NOISE, UNSURE, WORSE, BETTER = "inside the noise", "inside the noise after Holm's correction", "worse", "better"
NO_SPREAD = "no spread among the seeds to judge by"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one combination of the scientific hyperparameters can do.

    Attributes:
      values: the combination, by dotted path.
      completed, failed: how many trials with these values did.
      chosen: the best of the completed by the objective's mean over its seeds; None where there is none.
      edges: which of its nuisance hyperparameters lie at an edge of what was searched.
    """

    values: dict[str, Any]
    completed: int
    failed: int
    chosen: Outcome | None
    edges: tuple[str, ...]

    @property
    def tests(self) -> list[float]:
        """The test accuracy of each seed."""
        return [done.test_accuracy for done in self.chosen.results] if self.chosen else []


@dataclasses.dataclass(frozen=True)
class Difference:
    """An answer's test accuracy minus that of the one that it is compared with, paired over the seeds.

    Attributes:
      control, other: the two.
      mean: the mean difference.
      interval: half the width of its 95% interval; 0 where all seeds have the same difference.
      p: of a paired t test, after Holm's correction for the number of comparisons; 1 where there is no spread.
    """

    control: Answer
    other: Answer
    mean: float
    interval: float
    p: float

    @property
    def verdict(self) -> str:
        """What may be said of it."""
        if not self.interval:
            return NO_SPREAD
        if abs(self.mean) <= self.interval:
            return NOISE
        if self.p > _LEVEL:
            return UNSURE
        return WORSE if self.mean < 0 else BETTER


def scientific(sweep: Swept) -> list[str]:
    """Returns the searched paths that the sweep asks about."""
    return [path for path in sweep.space.searched if sweep.space.role(path) == "scientific"]


def nuisance(sweep: Swept) -> list[str]:
    """Returns the searched paths that have to be chosen well for the answer to be fair."""
    return [path for path in sweep.space.searched if path not in scientific(sweep)]


def axis(found: Sequence[Answer]) -> str:
    """Returns the path to draw along: one that all answers have, one with numbers, the one with the most values."""

    def merits(path: str) -> tuple[bool, bool, int]:
        values = [each.values[path] for each in found if path in each.values]
        return len(values) == len(found), all(map(is_number, values)), len(set(values))

    return max(dict.fromkeys(path for each in found for path in each.values), key=merits)


def answers(sweep: Swept) -> list[Answer]:
    """Returns an answer for each combination that a trial has ended with, in the order of their values."""
    paths, found = scientific(sweep), {}
    for trial in sweep.counted:
        if trial.status != outcomes.RUNNING:
            found.setdefault(tuple(trial.values.get(path) for path in paths), []).append(trial)
    # Where one is not searched it has no value, which comes first.
    ordered = sorted(found, key=lambda values: [() if value is None else in_order(value) for value in values])
    return [_answer(sweep, dict(zip(paths, values, strict=True)), found[values]) for values in ordered]


def _answer(sweep: Swept, values: dict[str, Any], trials: Sequence[Outcome]) -> Answer:
    best = outcomes.ranked(trials, sweep.config.objective)
    failed = sum(trial.status == outcomes.FAILED for trial in trials)
    edges = tuple(
        entry.path
        for entry in sweep.space.entries
        if best and entry.path in nuisance(sweep) and entry.holds(best[0].values) and _at_edge(entry, best[0].values)
    )
    known = {path: value for path, value in values.items() if value is not None}
    return Answer(known, len(best), failed, best[0] if best else None, edges)


def _at_edge(entry: Entry, values: dict[str, Any]) -> bool:
    value = values[entry.path]
    if not is_number(value) or entry.count() == 1:
        return False
    if entry.values:
        return value in (min(entry.values, key=in_order), max(entry.values, key=in_order))
    place, low, high = (math.log(x) if entry.sampling == "log" else x for x in (value, entry.low, entry.high))
    return not low + _EDGE * (high - low) < place < high - _EDGE * (high - low)


def differences(sweep: Swept, found: Sequence[Answer], within: str | None) -> list[Difference]:
    """Returns how each answer differs from the one with the config's own values, in families that share a value.

    In a family that lacks those values, or where they failed, the control is the best by the objective.

    Args:
      sweep: the sweep.
      found: its answers.
      within: a path; answers are compared with those alone that have the same value of it. None compares all.
    """
    families: dict[Any, list[Answer]] = {}
    for answer in found:
        if answer.chosen and len(answer.tests) > 1:
            families.setdefault(answer.values.get(within), []).append(answer)
    pairs = []
    for family in families.values():
        owned = [each for each in family if is_own(sweep, each, within)]
        (first, *_) = outcomes.ranked([each.chosen for each in owned or family], sweep.config.objective)
        control = next(each for each in family if each.chosen is first)
        pairs += [(control, other) for other in family if other is not control]
    paired = [[round(b - a, _DIGITS) for a, b in zip(one.tests, other.tests, strict=True)] for one, other in pairs]
    return [
        Difference(*pair, statistics.fmean(by_seed), interval95(by_seed) if has_spread(by_seed) else 0.0, p)
        for pair, by_seed, p in zip(pairs, paired, holm([paired_p(by_seed) for by_seed in paired]), strict=True)
    ]


def is_own(sweep: Swept, each: Answer, within: str | None) -> bool:
    """Tells whether an answer's values are those of the sweep's config, but for `within`, which is a path or None."""
    own = flatten(sweep.config)
    return bool(each.values) and all(own[path] == value for path, value in each.values.items() if path != within)
