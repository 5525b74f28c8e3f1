"""A dataset in the form that a training needs."""

import dataclasses

import numpy as np

from gnexp.errors import UserError

SHAPE = (28, 28, 1)  # of the images of Fashion-MNIST, and of the digits as gnexp has them


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one part of a dataset.

    Attributes:
      inputs: array of shape (n, ...): images as uint8 from 0 to 255, or floats as they are.
      targets: array of shape (n, ...): int32 labels, masks, or floats, as the task has them.
      weights: float32 array of shape (n,), the weight of each example in loss and figures; None where all have 1.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.inputs)

    def part(self, which: slice | np.ndarray) -> "Split":
        """Returns some of the examples: those of a slice, or those with the given indices."""
        return Split(self.inputs[which], self.targets[which], None if self.weights is None else self.weights[which])


@dataclasses.dataclass(frozen=True)
class Splits:
    """One dataset, ready to train on.

    Attributes:
      train, validation, test: its parts.
      labels: the name of each class; empty where the targets are no classes.
    """

    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def input_dtype(self) -> str:
        """The dtype of the inputs."""
        return str(self.train.inputs.dtype)


class UnavailableError(UserError):
    """A dataset is not on this machine and cannot be downloaded."""
