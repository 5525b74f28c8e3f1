"""The figure that a training or a sweep optimizes, and which of two values of it is better."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A figure and its direction, in keras-tuner's words.

    Attributes:
      name: the figure's name in the history of a training.
      direction: "max" where higher is better, "min" where lower is.
    """

    name: str
    direction: str

    @property
    def _sign(self) -> int:
        return 1 if self.direction == "max" else -1

    def is_better(self, value: float, other: float) -> bool:
        """Tells whether a value is better than another."""
        return self._sign * value > self._sign * other

    def best(
        self, items: Iterable[_Item], key: Callable[[_Item], float] = lambda item: item, default: _Item | None = None
    ) -> _Item | None:
        """Returns the item with the best `key`, the first of equals; `default` if there are no items."""
        return max(items, key=lambda item: self._sign * key(item), default=default)

    def ranked(self, items: Iterable[_Item], key: Callable[[_Item], float] = lambda item: item) -> list[_Item]:
        """Returns the items, the best `key` first; equals keep their order."""
        return sorted(items, key=lambda item: -self._sign * key(item))


OBJECTIVES: Mapping[str, Objective] = {
    name: Objective(name, direction) for name, direction in {"val_accuracy": "max", "val_loss": "min"}.items()
}
