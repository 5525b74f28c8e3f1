"""The kinds of value that a config may hold: a test of the value, and what is allowed in words."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Kind:
    """A set of values: a test that a value belongs to it, and what is allowed in words."""

    accepts: Callable[[Any], bool]
    allowed: str


REQUIRED: Any = object()  # the default of a key that a config must have


@dataclasses.dataclass(frozen=True)
class Field:
    """One key of a config.

    Attributes:
      kind: what its value may be.
      what: what the value does, in a few words.
      not_searched: why a sweep cannot search it; empty if it can.
      may_change: whether a workdir may be resumed with another value.
      shown: whether it is a hyperparameter, and so a column of the dashboard.
      several: whether it holds several values, so that a flag given twice would join them.
      path: whether it is a path: relative to the config file that has it, and absolute in a record.
      default: its value in a config that lacks it (`defaults.fill_in`), which is what gnexp did before there was the
        key; `REQUIRED` if no config lacks it.
      matters: the path of a choice, and those of its values with which this key has an effect; None if it always has.
    """

    kind: Kind
    what: str
    not_searched: str = ""
    may_change: bool = False
    shown: bool = True
    several: bool = False
    path: bool = False
    default: Any = REQUIRED
    matters: tuple[str, tuple[str, ...]] | None = None

    def accepts(self, value: Any) -> bool:
        """Tells whether the key may hold a value."""
        return self.kind.accepts(value)

    @property
    def allowed(self) -> str:
        """What the key may hold, in words."""
        return self.kind.allowed


# Well within the range of float32. No comparison with NaN is true, so that NaN is refused.
_SMALLEST, _LARGEST = 1e-30, 1e30
_MOST = 10**9


def is_integer(value: Any) -> bool:
    """Tells whether a value is a whole number; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tells whether a value is a number that float32 can hold."""
    return (is_integer(value) or isinstance(value, float)) and -_LARGEST <= value <= _LARGEST


def integer(minimum: int, maximum: int = _MOST) -> Kind:
    """Returns the kind of a whole number from `minimum` to `maximum`, both included."""
    allowed = f"a whole number of {minimum} or more" if maximum == _MOST else f"a whole number, {minimum} to {maximum}"
    return Kind(lambda value: is_integer(value) and minimum <= value <= maximum, allowed)


def boolean() -> Kind:
    """Returns the kind of a value that is true or false."""
    return Kind(lambda value: isinstance(value, bool), "true or false")


def choice(*names: str) -> Kind:
    """Returns the kind of a value that is one of `names`."""
    return Kind(lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(map(repr, names)))


def positive() -> Kind:
    """Returns the kind of a number above 0."""
    return Kind(lambda value: is_number(value) and value >= _SMALLEST, "a number above 0 (1e-30 to 1e30)")


def non_negative() -> Kind:
    """Returns the kind of a number of 0 or more."""
    return Kind(lambda value: is_number(value) and value >= 0, "a number of 0 or more")


def fraction() -> Kind:
    """Returns the kind of a number from 0 up to, but not including, 1."""
    return Kind(lambda value: is_number(value) and 0 <= value < 1, "a number of 0 or more, and below 1")
