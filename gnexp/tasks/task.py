"""What a network learns, and how well it does: the base class of the built-in tasks and of one's own."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from gnexp.data.splits import Split, Splits
from gnexp.models.outputs import Outputs
from gnexp.tasks.pictures import Picture


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a network does on one split.

    Attributes:
      loss: the mean loss.
      figures: the task's figures by name.
      outputs: the network's outputs, float32 of shape (n, ...), for the first n examples: as many as fit in memory.
    """

    loss: float
    figures: Mapping[str, float]
    outputs: np.ndarray


class Task:
    """What a network learns.

    A task of one's own sets `outputs` and `figures` and has `loss` and `numbers`; the rest has defaults.

    Args:
      splits: the dataset.

    Attributes:
      outputs: what the network returns.
      figures: the direction of each figure, "max" or "min", by its name; a page shows the first.
      counted: the names of what `numbers` returns; by default the figures.
    """

    outputs: Outputs
    figures: Mapping[str, str]

    def __init__(self, splits: Splits):
        self.splits = splits

    @property
    def counted(self) -> tuple[str, ...]:
        """The names of what `numbers` returns."""
        return tuple(self.figures)

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the loss of each example of a batch, in keras.ops, without regularization.

        Args:
          targets: tensor of shape (n, ...).
          outputs: float32 tensor of shape (n, ...), as the network returns it.
        """
        raise NotImplementedError

    def numbers(self, targets: Any, outputs: Any) -> Mapping[str, Any]:
        """Returns numbers of each example, tensors of shape (n,) in keras.ops, of which `values` gets the means."""
        raise NotImplementedError

    def values(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Returns the figures, by their names, from the means of the numbers over all examples."""
        return means

    def weights(self, split: Split) -> np.ndarray | None:
        """Returns what each example of a split weighs in training; None where all weigh 1."""
        return split.weights

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Returns outputs as Keras's metrics expect them: probabilities instead of logits."""
        return outputs

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns `loss` for an evaluation, as a float64 array of shape (n,)."""
        return in_float64(each_loss(self.loss(*map(keras.ops.convert_to_tensor, (targets, outputs))), len(targets)))

    def measured(self, targets: np.ndarray, outputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """Returns `numbers` for an evaluation, as float64 arrays of shape (n,)."""
        found = self.numbers(*map(keras.ops.convert_to_tensor, (targets, outputs)))
        return {name: in_float64(found[name]) for name in self.counted}

    def replace_loss(self, function: Callable[[Any, Any], Any]) -> None:
        """Lets the network learn by another loss than the task's own."""
        self.loss = function

    def pictures(self, split: Split, outputs: np.ndarray) -> Iterator[tuple[str, Picture]]:
        """Yields pictures of outputs for the examples of a split, each with its tag."""
        yield from ()


def one_hot(targets: Any, outputs: Any) -> Any:
    """Returns the classes of targets as shares, 0 or 1 for each class; targets that are no classes as they are.

    Args:
      targets: tensor or array of shape (...).
      outputs: tensor or array of shape (..., classes), the network's or the predictions.
    """
    numbered = "int" in str(targets.dtype) and len(targets.shape) + 1 == len(outputs.shape)
    return keras.ops.one_hot(targets, outputs.shape[-1]) if numbered else targets


def each_loss(losses: Any, count: int) -> Any:
    """Returns losses as one for each of `count` examples: the mean over its parts, or a batch's single loss."""
    if len(losses.shape) == 0:
        return keras.ops.broadcast_to(losses, (count,))
    return losses if len(losses.shape) == 1 else keras.ops.mean(losses, axis=range(1, len(losses.shape)))


def in_float64(values: Any) -> np.ndarray:
    """Returns a tensor as a float64 array."""
    return keras.ops.convert_to_numpy(values).astype(np.float64)
