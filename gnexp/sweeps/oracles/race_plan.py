"""Which combinations and settings are in a race."""

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from scipy.stats import qmc

from gnexp.space.space import Space

_FEWEST_SETTINGS = 4  # of a combination, where there are too many combinations for all
_DRAWS = 16  # for each that is wanted, after which a small space counts as exhausted

Key = tuple[tuple[str, Any], ...]


def plan(space: Space, config: ConfigDict) -> list[dict[str, Any]]:
    """Returns the values of all settings of a race, in the order in which they begin.

    The config's own values come first, unless it leaves them out. Then comes the space's grid, if it is not larger than
    `sweep.max_trials`, and otherwise as many settings, drawn evenly: of all combinations the same number each; or if
    there are too many combinations, four of some.
    """
    most, small = config.sweep.max_trials, space.grid_size() <= config.sweep.max_trials
    found: dict[Key, dict[str, Any]] = {}
    if own := space.first(config):
        found[key(own)] = own
    for values in _in_turn(space) if small else _drawn(space, most, config.sweep.seed):
        if len(found) >= most and not small:
            break
        found.setdefault(key(values), values)
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a race takes if it drops half of each combination's settings, and adds all seeds to one of them.

    Attributes:
      settings: how many begin; the config's own values may be one more than `sweep.max_trials`.
      trials: how many trainings there are, each of which is a trial.
      epochs: of all trainings together, `sweep.max_epochs` at most.
    """

    settings: int
    trials: int
    epochs: int


def expected(space: Space, config: ConfigDict) -> Expected:
    """Returns about what a race takes."""
    groups = collections.Counter(combination(space.asked, values) for values in plan(space, config))
    half, all_epochs = math.ceil(config.epochs / 2), config.epochs
    settings, seeds = sum(groups.values()), len(groups) * (config.sweep.executions - 1)
    promoted = sum(max(1, count // 2) for count in groups.values()) if half < all_epochs else 0
    epochs = settings * half + promoted * (all_epochs - half) + seeds * all_epochs
    return Expected(settings, settings + promoted + seeds, min(epochs, config.sweep.max_epochs or epochs))


def key(values: Mapping[str, Any]) -> Key:
    """Returns what two trials of one setting have in common."""
    return tuple(sorted((path, value) for path, value in values.items() if not path.startswith("tuner/")))


def combination(asked: Sequence[str], values: Mapping[str, Any]) -> tuple:
    """Returns the values that make the combination of a setting, None where one has no value."""
    return tuple(values.get(path) for path in asked)


def _in_turn(space: Space) -> Iterator[dict[str, Any]]:
    """Yields the grid: the first setting of each combination, then the second ones, and so on.

    Whatever ends the race, the combinations have then had about the same.
    """
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for values in space.grid():
        groups.setdefault(combination(space.asked, values), []).append(values)
    rounds = itertools.zip_longest(*groups.values())
    return (values for each in rounds for values in each if values is not None)


def _drawn(space: Space, most: int, seed: int) -> Iterator[dict[str, Any]]:
    scientific, tuned = space.asked, space.tuned
    combinations = math.prod(sum(entry.count() for entry in space.of(path)) for path in scientific)
    wanted = int(max(1, min(most // _FEWEST_SETTINGS if tuned else most, combinations)))
    firsts: dict[Key, dict[str, float]] = {}
    for point in _evenly(len(scientific), wanted, seed):
        shares = dict(zip(scientific, point, strict=False))
        if len(firsts) < wanted:
            values = _values(space, {**dict.fromkeys(tuned, 0.5), **shares})
            firsts.setdefault(key({path: values[path] for path in scientific if path in values}), shares)
    for point in _evenly(len(tuned), math.ceil(most / len(firsts)), seed + 1):
        for shares in firsts.values():
            yield _values(space, {**shares, **dict(zip(tuned, point, strict=False))})


def _evenly(dimensions: int, count: int, seed: int) -> Sequence[Sequence[float]]:
    """Returns points of the unit cube, more than `count`; the first ones of a Sobol sequence already fill it evenly."""
    power = math.ceil(math.log2(max(2, count * _DRAWS)))
    return qmc.Sobol(max(1, dimensions), rng=seed).random_base2(power)


def _values(space: Space, shares: Mapping[str, float]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in space.entries:
        if entry.holds(values):
            values[entry.path] = entry.at(shares.get(entry.path, 0.0))
    return values
