"""The effect of each hyperparameter on the score of a sweep's trials, with its uncertainty."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gnexp.analysis.intervals import interval95, with_spread
from gnexp.analysis.outcomes import COMPLETED, FAILED, Outcome
from gnexp.config import objective
from gnexp.config.objective import Objective
from gnexp.config.objective import bounds as of_figure
from gnexp.config.paths import flatten
from gnexp.space.domain import in_order
from gnexp.space.space import Space
from gnexp.terminal.words import short

HEADERS = ("hyperparameter", "value", "trials", "failed", "mean", "best")
# A range that is searched is divided into parts with equal numbers of trials.
_MOST_RANGES = 4
_FEWEST_IN_RANGE = 4


@dataclasses.dataclass(frozen=True)
class Level:
    """The trials in which a hyperparameter had one value, or was in one range.

    Attributes:
      name: the value, or the two ends of the range.
      center: the median of the values in the range; None for a single value.
      scores: for each completed trial, the mean over its executions.
      failed: how many trials failed.
      best: the best of the scores, or None. If the others are nuisance hyperparameters, this is what a level can do.
      interval: half the width of the mean's 95% interval, over trials; None with fewer than two, and in a grid, where
        the other hyperparameters are not drawn at random.
      values: what the hyperparameter had in its trials.
    """

    name: str
    center: float | None
    scores: tuple[float, ...]
    failed: int
    best: float | None
    interval: float | None
    values: tuple[Any, ...] = ()

    @property
    def mean(self) -> float | None:
        """The mean score over the trials, or None if none completed."""
        return float(np.mean(self.scores)) if self.scores else None


@dataclasses.dataclass(frozen=True)
class Effect:
    """A hyperparameter's levels, in order."""

    path: str
    role: str
    levels: tuple[Level, ...]


def effects(config: ConfigDict, space: Space, trials: Sequence[Outcome]) -> list[Effect]:
    """Returns the effect of every hyperparameter that a sweep's config varies, over the trials that have ended."""
    ended = [outcome for outcome in trials if outcome.status in (COMPLETED, FAILED)]
    drawn, asked = config.sweep.tuner != "grid", objective.of(flatten(config))
    return [
        Effect(
            path,
            space.role(path),
            tuple(_level(asked, drawn, path, *part) for part in _parts(path, space.listed(path), ended)),
        )
        for path in space.searched
    ]


def _parts(path: str, listed: bool, ended: Sequence[Outcome]) -> list[tuple[str, float | None, list[Outcome]]]:
    """Divides trials by the values of a hyperparameter, or into ranges of them: name, center and members of each."""
    having = [outcome for outcome in ended if path in outcome.values]
    if listed:
        values = sorted({outcome.values[path] for outcome in having}, key=in_order)
        return [(short(value), None, [each for each in having if each.values[path] == value]) for value in values]
    ordered = sorted(having, key=lambda outcome: outcome.values[path])
    count = min(_MOST_RANGES, max(1, len(ordered) // _FEWEST_IN_RANGE))
    parts = []
    for indices in np.array_split(np.arange(len(ordered)), count):
        if not len(indices):
            continue
        members = [ordered[index] for index in indices]
        inside = [member.values[path] for member in members]
        ends = dict.fromkeys(map(short, (inside[0], inside[-1])))  # The two may be equal.
        parts.append((" to ".join(ends), float(np.median(inside)), members))
    return parts


def _level(
    objective: Objective, drawn: bool, path: str, name: str, center: float | None, members: Sequence[Outcome]
) -> Level:
    scores = tuple(member.mean for member in members if member.mean is not None)
    failed = sum(member.status == FAILED for member in members)
    interval = interval95(scores) if drawn else None
    values = tuple(member.values[path] for member in members)
    return Level(name, center, scores, failed, objective.best(scores), interval, values)


def rows(effects: Sequence[Effect], objective: Objective) -> list[list]:
    """Returns the rows of a table with the columns HEADERS: one for each level of each effect."""
    bounds = of_figure(objective.name)
    return [
        [
            "" if index else f"{effect.path} ({effect.role})",
            level.name,
            len(level.scores),
            level.failed or "",
            with_spread(level.mean, level.interval, bounds, over="trials"),
            with_spread(level.best, None),
        ]
        for effect in effects
        for index, level in enumerate(effect.levels)
    ]
