"""Examples that are read when they are asked for, seen as columns: their inputs, their targets, their weights."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gnexp.data.forms import as_inputs, as_targets, as_weights, stacked
from gnexp.errors import UserError
from gnexp.functions.load import users_code

INPUTS, TARGETS, WEIGHTS = 0, 1, 2  # the parts of an example
_FORMS = {INPUTS: as_inputs, TARGETS: as_targets, WEIGHTS: as_weights}


Like = tuple[tuple[int, ...], np.dtype]  # of a row


class Source(Protocol):
    """Examples that are read when they are asked for: tuples (input, target), or (input, target, weight)."""

    def __len__(self) -> int:
        """Returns the number of examples."""

    def __getitem__(self, index: int) -> tuple:
        """Returns an example, the same at every call."""


def example(source: Source, index: int, where: str) -> tuple:
    """Returns an example of a source.

    Args:
      source: the examples.
      index: which one.
      where: the name of the examples in messages.

    Raises:
      FunctionError: the source fails; with the first cause, its file and its line.
      UserError: it is no pair (input, target), and no triple with a weight.
    """
    with users_code(f"{where}: example {index} cannot be read"):
        found = source[index]
    if not isinstance(found, (tuple, list)) or len(found) not in (2, 3):
        raise UserError(
            f"{where}: example {index} is a {type(found).__name__}: it must be (input, target), or with a weight"
        )
    return tuple(found)


def part(found: tuple, number: int, index: int, where: str) -> Any:
    """Returns a part of an example; raises UserError if it has no weight and the first one has."""
    if number >= len(found):
        raise UserError(f"{where}: example {index} has no weight, and the first one has: all must be alike")
    return found[number]


def converted(values: Sequence[Any], number: int, where: str, like: Like | None = None) -> np.ndarray:
    """Returns one part of some examples as an array.

    Args:
      values: that part of each example.
      number: `INPUTS`, `TARGETS` or `WEIGHTS`.
      where: the name of the examples in messages.
      like: the shape of a row and the dtype that the array must have; None for any.

    Raises:
      UserError: the examples differ in shape, or are not as they must be.
    """
    found = _FORMS[number](stacked(values, where), where)
    if like and (found.shape[1:], found.dtype) != like:
        raise UserError(
            f"{where}: examples have the shapes {like[0]} and {found.shape[1:]}, {like[1]} and {found.dtype}: "
            "all must be alike"
        )
    return found


class Column:
    """A part of a source's examples; as an array, of which only what is asked for is read.

    Args:
      source: the examples.
      number: `INPUTS`, `TARGETS` or `WEIGHTS`.
      where: the name of the examples in messages.

    Attributes:
      rows: the indices of those examples of the source that belong to it.
      shape, dtype: as an array has them.
    """

    def __init__(self, source: Source, number: int, where: str):
        self.source, self.number, self.where = source, number, where
        self.rows = np.arange(len(source))
        first = converted([example(source, 0, where)[number]], number, where)
        self.shape, self.dtype = (len(self.rows), *first.shape[1:]), first.dtype

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.rows)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads all examples."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
        """Reads some of the examples: one, those of a slice, or those with the given indices."""
        if isinstance(which, (int, np.integer)):
            return self[[which]][0]
        read = [
            part(example(self.source, int(row), self.where), self.number, int(row), self.where)
            for row in self.rows[which]
        ]
        return converted(read, self.number, self.where, self.like)

    @property
    def like(self) -> Like:
        """The shape of a row, and the dtype."""
        return self.shape[1:], self.dtype

    def part(self, which: slice | np.ndarray) -> "Column":
        """Returns some of the examples, without reading them."""
        found = object.__new__(Column)
        found.__dict__.update(self.__dict__)
        found.rows = self.rows[which]
        found.shape = (len(found.rows), *self.shape[1:])
        return found

    @property
    def nbytes(self) -> int:
        """How much memory the examples would take."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
