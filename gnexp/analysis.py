"""What a sweep's trials say of each hyperparameter, with its uncertainty."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gnexp import outcomes, workdir
from gnexp.config.objective import OBJECTIVES
from gnexp.config.stored import from_json
from gnexp.console import short
from gnexp.outcomes import COMPLETED, FAILED, Outcome, interval95
from gnexp.space.parse import parse_space
from gnexp.space.space import Space

# What is searched over a range is divided into ranges with equal numbers of trials, of so many at least.
_MOST_RANGES = 4
_FEWEST_IN_RANGE = 4


@dataclasses.dataclass(frozen=True)
class Swept:
    """A sweep, as far as it has got.

    Attributes:
      directory: its workdir.
      config: its config.
      space: its search space.
      trials: all of them.
      counted: those that no other trial goes on from, so that hyperband's count once.
      best: the completed ones of these, the best first.
    """

    directory: pathlib.Path
    config: ConfigDict
    space: Space
    trials: list[Outcome]
    counted: list[Outcome]
    best: list[Outcome]

    @property
    def kept(self) -> bool:
        """Whether only what a repository keeps of it is there: no models and no event files."""
        return (self.directory / outcomes.KEPT).exists()


def read(directory: pathlib.Path) -> Swept:
    """Returns the sweep in a workdir; UserError where there is none."""
    trials = outcomes.read(directory)
    config = from_json(workdir.read_json(directory / workdir.CONFIG))
    counted = outcomes.final(trials)
    return Swept(directory, config, parse_space(config), trials, counted, outcomes.ranked(counted, config.objective))


def in_order(value: Any) -> tuple[bool, Any]:
    """Returns what to sort values by: -1 groups are a group for each channel, and so more than all others."""
    return is_number(value) and value < 0, value


def is_number(value: Any) -> bool:
    """Tells whether a hyperparameter's value has a place on a scale."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Level:
    """What came of the trials in which a hyperparameter had one value, or was in one range.

    Attributes:
      name: the value, or the two ends of the range.
      center: the median of those in the range; None for a value.
      scores: of the completed trials, each the mean over its executions.
      failed: how many failed.
      best: the best of the scores, or None. Where others are nuisance hyperparameters, this is what a level can do.
      interval: half the width of the mean's 95% interval, over trials; None with fewer than two, and in a grid, whose
        values of the other hyperparameters nobody drew.
    """

    name: str
    center: float | None
    scores: tuple[float, ...]
    failed: int
    best: float | None
    interval: float | None

    @property
    def mean(self) -> float | None:
        """The mean score, over the values of the others that came with it."""
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
    drawn = config.sweep.tuner != "grid"
    return [
        Effect(
            path,
            space.role(path),
            tuple(_level(config.objective, drawn, *part) for part in _parts(path, space.listed(path), ended)),
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
        ends = dict.fromkeys(map(short, (inside[0], inside[-1])))  # Both may be one.
        parts.append((" to ".join(ends), float(np.median(inside)), members))
    return parts


def _level(objective: str, drawn: bool, name: str, center: float | None, members: Sequence[Outcome]) -> Level:
    scores = tuple(member.mean for member in members if member.mean is not None)
    failed = sum(member.status == FAILED for member in members)
    return Level(
        name, center, scores, failed, OBJECTIVES[objective].best(scores), interval95(scores) if drawn else None
    )
