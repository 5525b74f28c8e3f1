"""A dataset in the form that a training needs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gnexp.data.columns import Column
from gnexp.data.readers import Processes
from gnexp.errors import UserError

SHAPE = (28, 28, 1)  # of the images of Fashion-MNIST, and of the digits as gnexp has them


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one part of a dataset.

    Attributes:
      inputs: array of shape (n, ...): images as uint8 from 0 to 255, or floats as they are; a `Column` where they do
        not fit into memory.
      targets: array of shape (n, ...): int32 labels, masks, or floats, as the task has them; or a `Column`.
      weights: float32 array of shape (n,), the weight of each example in loss and figures; None where all have 1.
      readers: the processes that read columns; None for threads of this process.
    """

    inputs: np.ndarray | Column
    targets: np.ndarray | Column
    weights: np.ndarray | None = None
    readers: Processes | None = dataclasses.field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.inputs)

    @property
    def in_memory(self) -> bool:
        """Whether the examples are arrays; otherwise `gnexp.data.stream` reads them in batches."""
        return not isinstance(self.inputs, Column)

    def part(self, which: slice | np.ndarray) -> "Split":
        """Returns some of the examples: those of a slice, or those with the given indices."""

        def some(values: Any) -> Any:
            return values.part(which) if isinstance(values, Column) else None if values is None else values[which]

        return Split(some(self.inputs), some(self.targets), some(self.weights), self.readers)


@dataclasses.dataclass(frozen=True)
class Splits:
    """One dataset, ready to train on.

    Attributes:
      train, validation, test: its parts.
      labels: the name of each class; empty where the targets are no classes.
      fingerprint: what tells the data from any other, as values that JSON can hold.
      remarks: what the user should know about the data, a line each.
      strange: where an example has several targets, one that is neither 0 nor 1; None if there is none.
    """

    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...] = ()
    fingerprint: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    strange: float | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def without_channels(self) -> str:
        """What to add to a message of images that are needed: "" unless it may be only their channels that lack."""
        if len(self.input_shape) != 2:  # height and width
            return ""
        height, width = self.input_shape
        return f"; images have channels: return the shape (n, {height}, {width}, 1) instead of (n, {height}, {width})"

    @property
    def input_dtype(self) -> str:
        """The dtype of the inputs."""
        return str(self.train.inputs.dtype)


class UnavailableError(UserError):
    """A dataset is not on this machine and cannot be downloaded."""
