"""The search space as a whole: how its entries combine, and the config of each trial."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from gnexp.config.paths import flatten
from gnexp.config.stored import from_json, to_json
from gnexp.config.validation import validate_together
from gnexp.errors import UserError
from gnexp.space.domain import Entry
from gnexp.space.entries import FIXED, SCIENTIFIC


def _rounded(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else repr(value)


Key = tuple[tuple[str, str], ...]


def key(values: Mapping[str, Any]) -> Key:
    """Returns what tells a combination from others, however its numbers are rounded: 0.3 is 0.1 + 0.2."""
    return tuple(sorted((path, _rounded(value)) for path, value in values.items()))


class Space:
    """A sweep's search space; `parse_space` makes one from a config.

    Attributes:
      entries: each `Entry`, parents before the entries that depend on them.
    """

    def __init__(self, entries: list[Entry]):
        self.entries = tuple(sorted(entries, key=lambda entry: (entry.when is not None, entry.path)))

    @property
    def paths(self) -> list[str]:
        """The dotted paths that are in the space, each once."""
        return list(dict.fromkeys(entry.path for entry in self.entries))

    @property
    def searched(self) -> list[str]:
        """The dotted paths that have more than one value."""
        return [path for path in self.paths if sum(entry.count() for entry in self.of(path)) > 1]

    @property
    def asked(self) -> list[str]:
        """The searched paths that the sweep asks about: the scientific ones."""
        return [path for path in self.searched if self.role(path) == SCIENTIFIC]

    @property
    def tuned(self) -> list[str]:
        """The searched paths that have to be chosen well for a fair answer: the nuisance ones."""
        return [path for path in self.searched if self.role(path) != SCIENTIFIC]

    def of(self, path: str) -> list[Entry]:
        """Returns the entries of a path."""
        return [entry for entry in self.entries if entry.path == path]

    def role(self, path: str) -> str:
        """Returns the role of a path in the space."""
        return self.of(path)[0].role

    def listed(self, path: str) -> bool:
        """Tells whether a path's values are listed, so that none of its entries is a range."""
        return all(entry.values for entry in self.of(path))

    def logarithmic(self, path: str) -> bool:
        """Tells whether a path is sampled on a logarithmic scale wherever it is searched."""
        return all(entry.sampling == "log" or entry.kind == FIXED for entry in self.of(path))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields every combination of the entries' `points`, the last entry changing fastest."""
        return combine(self.entries, Entry.points)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yields every combination of a space whose `size` is finite."""
        return combine(self.entries, Entry.everything)

    def own(self, config: ConfigDict) -> dict[str, Any] | None:
        """Returns the config's own values of what is searched, as a trial has them; None if it has none, or may not."""
        flat, values = flatten(config), {}
        for entry in self.entries:
            if entry.holds(values):
                if entry.count() > 1 and entry.path not in flat:
                    return None
                values[entry.path] = flat[entry.path] if entry.count() > 1 else entry.everything()[0]
        try:
            validate_together({**flat, **values})
        except UserError:  # Something that is fixed does not go with them.
            return None
        return values

    def first(self, config: ConfigDict) -> dict[str, Any] | None:
        """Returns the values of a sweep's first trial if they are the config's own; None if its tuner chooses them."""
        return self.own(config) if config.sweep.own_first else None

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Tells whether a trial's values are a combination of the space."""
        return all(entry.contains(values[entry.path]) for entry in self.entries if entry.holds(values))

    def grid_from(self, first: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
        """Yields the grid; some values before all others, and not again."""
        if first is None:
            yield from self.grid()
            return
        yield first
        yield from (values for values in self.grid() if key(values) != key(first))

    def beside(self, config: ConfigDict) -> int:
        """Returns 1 if the first trial's values are none of those that the tuner would try, otherwise 0."""
        first = self.first(config)
        if first is None:
            return 0
        if config.sweep.tuner == "grid":
            held = [entry for entry in self.entries if entry.holds(first)]
            return int(any(_rounded(first[entry.path]) not in map(_rounded, entry.points()) for entry in held))
        return int(not self.contains(first))

    def aside(self, config: ConfigDict) -> dict[str, Any] | None:
        """Returns the config's own values if the first trial has them and takes no part in comparisons, otherwise None.

        Something is tuned, and the tuner does not try these values by itself: their combination would have one setting
        more than others, or nothing but this one, and would be better or worse for that alone.
        """
        return self.first(config) if self.tuned and self.beside(config) else None

    def trials(self, config: ConfigDict) -> int:
        """Returns how many trials a sweep has; a race, in which each training is one, has others.

        A grid that `sweep.max_trials` allows is tried whole, and the config's own values are one more if it lacks them.
        """
        most, beside = config.sweep.max_trials, self.beside(config)
        if config.sweep.tuner == "hyperband":  # The space does not limit it: it trains a configuration more than once.
            return most
        if config.sweep.tuner != "grid":
            return int(min(most, self.size() + beside))
        return self.grid_size() + beside if self.grid_size() <= most else most

    def size(self) -> float:
        """Returns how many combinations there are: a whole number, or infinity."""
        return self._combined(Entry.count)

    def grid_size(self) -> int:
        """Returns how many combinations `grid` yields."""
        return int(self._combined(lambda entry: len(entry.points())))

    def _combined(self, count: Callable[[Entry], float]) -> float:
        parents = {entry.when[0] for entry in self.entries if entry.when}
        deciding = [entry for entry in self.entries if entry.path in parents]
        free = math.prod(count(entry) for entry in self.entries if entry.when is None and entry.path not in parents)
        dependent = [entry for entry in self.entries if entry.when]
        return free * sum(
            math.prod(count(entry) for entry in dependent if entry.holds(values))
            for values in combine(deciding, Entry.points)
        )

    def config(self, sweep: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
        """Returns the config of a trial: the sweep's config without its `sweep` section, with the trial's values."""
        # Plain values, because a ConfigDict would refuse a float where the config file has a whole number.
        plain = to_json(sweep)
        del plain["sweep"]
        for path in self.paths:
            if path in values:
                *sections, key = path.split(".")
                section = functools.reduce(lambda part, name: part.setdefault(name, {}), sections, plain)
                section[key] = values[path]
        return from_json(plain)


def combine(entries: Sequence[Entry], values_of: Callable[[Entry], Iterable]) -> Iterator[dict[str, Any]]:
    """Yields every combination of the entries' values, leaving out entries that do not hold.

    Args:
      entries: parents before the entries that depend on them.
      values_of: returns the values of an entry.
    """
    if not entries:
        yield {}
        return
    for former in combine(entries[:-1], values_of):
        if entries[-1].holds(former):
            for value in values_of(entries[-1]):
                yield {**former, entries[-1].path: value}
        else:
            yield former
