"""Which combinations and settings are in a race."""

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from scipy.stats import qmc

from gnexp.space.domain import Entry
from gnexp.space.space import Key, Space, combine
from gnexp.space.space import key as of_values

_FEWEST_SETTINGS = 4  # of a combination, where a range has more combinations than can race
_MOST_COUNTED = 10_000  # combinations
_DRAWS = 16  # for each that is wanted, after which a small space counts as exhausted


def plan(space: Space, config: ConfigDict) -> list[dict[str, Any]]:
    """Returns the values of all settings of a race, in the order in which they begin.

    The config's own values come first, unless it leaves them out. Then comes the space's grid, if it is not larger than
    `sweep.max_trials`, and otherwise as many settings of each combination, drawn evenly. Of listed values all
    combinations race; of a range, as many as can have four settings each. Where settings are drawn, each one begins
    with the config's own values of what is tuned.
    """
    most, own = config.sweep.max_trials, space.first(config)
    found: dict[Key, dict[str, Any]] = {}
    if own:
        found[key(own)] = own
    inside = own is not None and space.contains(own)
    # Between the points of a grid, the config's own values would be a setting that one combination alone has.
    if space.grid_size() <= most and (not inside or key(own) in map(key, space.grid())):
        others = _in_turn(space.grid(), space.asked)
    else:
        most, own = most - (own is not None and not inside), own if inside else {}
        firsts = _combinations(space, most, config.sweep.seed, own) if most else []
        others = _drawn(space, firsts, max(1, most // len(firsts)), config.sweep.seed, own) if firsts else ()
    for values in others:
        found.setdefault(key(values), values)
    return list(found.values())


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a race takes if it drops half of each combination's settings, and adds all seeds to one of them.

    Attributes:
      settings: how many begin; the config's own values may be one more than `sweep.max_trials`.
      trials: how many trainings there are, each of which is a trial.
      epochs: of all trainings together, `sweep.max_epochs` at most.
      combinations: how many are compared.
      fewest: how many settings each of these has at least.
      left_out: how many combinations of listed values cannot race, because `sweep.max_trials` are fewer.
    """

    settings: int
    trials: int
    epochs: int
    combinations: int
    fewest: int
    left_out: int


def expected(space: Space, config: ConfigDict) -> Expected:
    """Returns about what a race takes."""
    aside = space.aside(config)
    compared = [values for values in plan(space, config) if aside is None or key(values) != key(aside)]
    counts = collections.Counter(combination(space.asked, values) for values in compared).values()
    half, all_epochs = math.ceil(config.epochs / 2), config.epochs
    settings, seeds = sum(counts) + (aside is not None), len(counts) * (config.sweep.executions - 1)
    promoted = sum(max(1, count // 2) for count in counts) + (aside is not None) if half < all_epochs else 0
    epochs = settings * half + promoted * (all_epochs - half) + seeds * all_epochs
    listed = sum(1 for _ in itertools.islice(_listed(space) or (), _MOST_COUNTED))
    return Expected(
        settings,
        settings + promoted + seeds,
        min(epochs, config.sweep.max_epochs or epochs),
        len(counts),
        min(counts, default=0),
        max(0, listed - len(counts)),
    )


def _listed(space: Space) -> Iterator[dict[str, Any]] | None:
    """Yields all combinations of what is asked; None if a range is, or if they depend on what is tuned."""
    entries = [entry for entry in space.entries if entry.path in space.asked]
    listed = all(map(space.listed, space.asked))
    if not listed or any(entry.when and entry.when[0] not in space.asked for entry in entries):
        return None
    return combine(entries, Entry.everything)


def key(values: Mapping[str, Any]) -> Key:
    """Returns what the trials of one setting have in common."""
    return of_values({path: value for path, value in values.items() if not path.startswith("tuner/")})


def combination(asked: Sequence[str], values: Mapping[str, Any]) -> Key:
    """Returns what the settings of one combination have in common."""
    return of_values({path: values[path] for path in asked if path in values})


def _in_turn(every: Iterable[dict[str, Any]], asked: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the first setting of each combination, then the second ones, and so on.

    Whatever ends the race, the combinations have then had about the same.
    """
    groups: dict[Key, list[dict[str, Any]]] = {}
    for values in every:
        groups.setdefault(combination(asked, values), []).append(values)
    rounds = itertools.zip_longest(*groups.values())
    return (values for each in rounds for values in each if values is not None)


def _combinations(space: Space, most: int, seed: int, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the combinations that race, each with the values of what is asked; that of `own` first."""
    asked, tuned = space.asked, space.tuned
    first = {path: own[path] for path in asked if path in own}
    found = {of_values(first): first} if first else {}
    listed = _listed(space)
    if listed and len(every := list(itertools.islice(listed, most + 1))) <= most:
        return list((found | {of_values(each): each for each in every}).values())
    wanted = most if listed or not tuned else max(min(2, most), most // _FEWEST_SETTINGS)
    for point in _evenly(len(asked), wanted, seed):
        if len(found) == wanted:
            break
        values = _values(space, {}, {**dict.fromkeys(tuned, 0.5), **dict(zip(asked, point, strict=False))})
        each = {path: values[path] for path in asked if path in values}
        found.setdefault(of_values(each), each)
    return list(found.values())


def _drawn(
    space: Space, firsts: Sequence[Mapping[str, Any]], rounds: int, seed: int, own: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yields up to `rounds` settings of each of the combinations `firsts`, in turn."""
    shares = [dict(zip(space.tuned, point, strict=False)) for point in _evenly(len(space.tuned), rounds, seed + 1)]
    every: dict[Key, dict[str, Any]] = {}
    for each in firsts:
        begins = [_values(space, {**own, **each}, shares[0])] if own else []
        drawn = itertools.chain(begins, (_values(space, each, share) for share in shares))
        settings = {key(values): values for values in itertools.islice(_unlike(drawn), rounds)}
        every |= settings
    return _in_turn(every.values(), space.asked)


def _unlike(settings: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields settings that are not yet among those before."""
    seen = set()
    for values in settings:
        if (found := key(values)) not in seen:
            seen.add(found)
            yield values


def _evenly(dimensions: int, count: int, seed: int) -> Sequence[Sequence[float]]:
    """Returns points of the unit cube, more than `count`; the first ones of a Sobol sequence already fill it evenly."""
    power = math.ceil(math.log2(max(2, count * _DRAWS)))
    return qmc.Sobol(max(1, dimensions), rng=seed).random_base2(power)


def _values(space: Space, known: Mapping[str, Any], shares: Mapping[str, float]) -> dict[str, Any]:
    """Returns a setting: known values where the space has them, and otherwise those at shares of their domains."""
    values: dict[str, Any] = {}
    for entry in space.entries:
        if entry.holds(values):
            has = entry.path in known and entry.contains(known[entry.path])
            values[entry.path] = known[entry.path] if has else entry.at(shares.get(entry.path, 0.0))
    return values
