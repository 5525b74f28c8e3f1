"""The values of one entry of a search space."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# How many values a grid tries in a range without a step, as in keras-tuner.
_GRID_POINTS = 10
# Of a range with more whole numbers than this, only the ends are checked.
_MOST_CHECKED = 1000


@dataclasses.dataclass(frozen=True)
class Entry:
    """The values of one dotted path, everywhere in the space or only where its parent has certain values.

    Attributes:
      path: the dotted path.
      kind: "choice", "int", "float", "boolean" or "fixed".
      role: "scientific", "nuisance" or "fixed".
      values: all of them, for choice, boolean and fixed.
      low, high, step, sampling: the range, for int and float.
      when: (parent's path, the parent's values), or None.
    """

    path: str
    kind: str
    role: str
    values: tuple = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    sampling: str = ""
    when: tuple[str, tuple] | None = None

    def points(self) -> list:
        """Returns the values that a grid tries: all of them, or evenly spaced ones from a range without a step."""
        if self.step is None and not self.values and (self.kind == "float" or self.sampling == "log"):
            count = _GRID_POINTS if self.low < self.high else 1
            spaced = (np.geomspace if self.sampling == "log" else np.linspace)(self.low, self.high, count)
            return sorted({round(value) for value in spaced}) if self.kind == "int" else spaced.tolist()
        return self.everything()

    def everything(self) -> list:
        """Returns all values of an entry that has finitely many."""
        if self.values:
            return list(self.values)
        if self.low == self.high:
            return [self.low]
        count, step = self.count(), self.step or 1
        if self.sampling == "log" and self.step is not None:
            spaced = [self.low * math.pow(step, index) for index in range(count)]
        else:
            spaced = [self.low + index * step for index in range(count)]
        if self.kind == "int":
            return [int(value) for value in spaced]
        # 0.1 + 2 * 0.1 is not what a config that says 0.3 has.
        return [min(float(f"{value:.12g}"), self.high) for value in spaced]

    def at(self, share: float) -> Any:
        """Returns the value at a share of the domain, from 0 up to, but not including, 1."""
        if self.kind == "int" and self.sampling == "log" and self.step is None and self.low < self.high:
            # Each whole number has the share of its distance to the next one.
            return min(int(self.low * ((self.high + 1) / self.low) ** share), self.high)
        if self.count() < math.inf:
            return self.everything()[int(share * self.count())]
        if self.sampling == "log":
            return math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        return self.low + share * (self.high - self.low)

    def count(self) -> float:
        """Returns how many values there are: a whole number, or infinity."""
        if self.values:
            return len(self.values)
        if self.low == self.high:
            return 1
        if self.step is None and self.kind == "float":
            return math.inf
        if self.step is not None and self.sampling == "log":
            steps = math.log(self.high / self.low, self.step)
        else:
            steps = (self.high - self.low) / (self.step or 1)
        return int(steps + 1e-8) + 1 if math.isfinite(steps) else math.inf

    def contains(self, value: Any) -> bool:
        """Tells whether a value is one of these."""
        return value in self.everything() if self.count() < math.inf else self.low <= value <= self.high

    def checked(self) -> list:
        """Returns the values to check: all of them, or only the ends of a large range."""
        if not self.values and (self.kind == "float" or self.count() > _MOST_CHECKED):
            return [self.low, self.high]
        return self.everything()

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Tells whether the entry is searched when the other entries have `values`."""
        return self.when is None or values.get(self.when[0]) in self.when[1]

    def __str__(self):
        """Returns the domain in words."""
        if self.values:
            domain = ", ".join(map(str, self.values))
        else:
            domain = f"{self.low:g} to {self.high:g}, {self.sampling}"
            domain += "" if self.step is None else f", step {self.step:g}"
        return domain


def in_order(value: Any) -> tuple[str, bool, Any]:
    """Returns a sort key for values of any types, numbers first; -1 is the last number: a group for each channel."""
    kind = "" if is_numeric(value) else type(value).__name__
    return kind, isinstance(value, int) and value == -1, value


def is_numeric(value: Any) -> bool:
    """Tells whether a hyperparameter's value has a place on a scale."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
