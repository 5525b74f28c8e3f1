"""Which combinations of the scientific hyperparameters are compared with which."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gnexp.space.domain import is_numeric

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Family:
    """Combinations that are compared with one of them.

    Attributes:
      control: the place of the combination with the config's own values, or None if it is not among them.
      members: the places of all.
    """

    control: int | None
    members: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many comparisons p is corrected for: all pairs, where the figures choose the one that others face."""
        others = len(self.members) - 1
        return others if self.control is not None else others * (others + 1) // 2


def axis(combinations: Sequence[Values]) -> str:
    """Returns the path for a picture's horizontal axis.

    The best is one that all combinations have, then one of numbers, then one with many values.
    """

    def merits(path: str) -> tuple[bool, bool, int]:
        values = [each[path] for each in combinations if path in each]
        return len(values) == len(combinations), all(map(is_numeric, values)), len(set(values))

    return max(dict.fromkeys(path for each in combinations for path in each), key=merits)


def within(combinations: Sequence[Values], paths: Sequence[str]) -> str | None:
    """Returns the path whose value combinations must share to be compared, or None if all are compared.

    Args:
      combinations: the values of each.
      paths: all that the sweep asks about.
    """
    # If some combinations lack a path, as with `by`, no family has all the others to compare.
    shared = len(paths) > 1 and all(len(each) == len(paths) for each in combinations)
    path = axis(combinations) if shared else None
    # What is on or off is itself asked about, and would never differ where all share its value.
    return None if path and all(isinstance(each[path], bool) for each in combinations) else path


def is_own(each: Values, own: Values, shared: str | None) -> bool:
    """Tells whether a combination's values, but for that of the path `shared`, are the config's `own`.

    What is searched may be no key of the config: an argument of a layer of augmentation that it does not use.
    """
    return bool(each) and all(path in own and own[path] == value for path, value in each.items() if path != shared)


def families(combinations: Sequence[Values], own: Values, shared: str | None) -> list[Family]:
    """Returns the families, each of the combinations that share the value of a path (`within`).

    Args:
      combinations: the values of each.
      own: the sweep's config, flat.
      shared: the path, or None for one family of all.
    """
    groups: dict[Any, list[int]] = {}
    for place, each in enumerate(combinations):
        groups.setdefault(each.get(shared), []).append(place)
    return [
        Family(next((place for place in group if is_own(combinations[place], own, shared)), None), tuple(group))
        for group in groups.values()
    ]
