"""The interface of a task: what a network learns, and how well it does."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from gnexp.tasks.pictures import Picture


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A model's loss (float), accuracy (float) and class probabilities (float64, (n, classes)) on one set of images."""

    loss: float
    accuracy: float
    probabilities: np.ndarray


class Task(Protocol):
    """What a network learns.

    Attributes:
      outputs: how many numbers the network returns for an image.
    """

    outputs: int

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the mean loss of a batch, in keras.ops, without regularization."""

    def correct(self, targets: Any, outputs: Any) -> Any:
        """Returns how many outputs of a batch are right, in keras.ops."""

    def evaluate(self, targets: np.ndarray, outputs: np.ndarray) -> Evaluation:
        """Returns the figures over all outputs, in float64; the loss is without regularization."""

    def pictures(self, inputs: np.ndarray, targets: np.ndarray, found: Evaluation) -> Iterator[tuple[str, Picture]]:
        """Yields pictures of what an evaluation found, each with its tag."""
