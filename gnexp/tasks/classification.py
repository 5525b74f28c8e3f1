"""Classification: softmax cross entropy over classes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from gnexp.config.objective import MAX, top_k
from gnexp.data.splits import Split, Splits
from gnexp.errors import UserError
from gnexp.models.outputs import Outputs
from gnexp.tasks import pictures
from gnexp.tasks.pictures import Picture
from gnexp.tasks.task import Task

BALANCED = "balanced"


class Classification(Task):
    """One class for each example, as an int32 label; the network returns logits.

    Args:
      splits: the dataset.
      label_smoothing: the share of each label that is spread over all classes (Szegedy et al., arXiv 1512.00567, 7).
      top_k: also measure how often the class is among as many of the most probable ones; 0 does not.
      class_weight: what an example of each class weighs in training; "balanced" gives all classes the same sum.

    Raises:
      UserError: there are not as many weights as classes, or `top_k` is not below their number.
    """

    def __init__(
        self,
        splits: Splits,
        label_smoothing: float = 0.0,
        top_k: int = 0,
        class_weight: str | Sequence[float] = "",
    ):
        super().__init__(splits)
        classes = len(splits.labels)
        if top_k >= classes:
            raise UserError(f"config.task.top_k={top_k} is not allowed: it must be less than the {classes} classes")
        if not isinstance(class_weight, str) and len(class_weight) != classes:
            raise UserError(
                f"config.task.class_weight={tuple(class_weight)} is not allowed: it must have {classes} numbers, one "
                "for each class"
            )
        self.outputs = Outputs(classes)
        self._smoothing, self._top_k, self._class_weight = label_smoothing, top_k, class_weight
        self._replaced = False

    @property
    def figures(self) -> Mapping[str, str]:
        """The accuracy, and the share of examples whose class is among the most probable ones."""
        return dict.fromkeys(("accuracy", *([top_k(self._top_k)] if self._top_k else ())), MAX)

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the cross entropy of each example, from logits of shape (n, classes).

        Args:
          targets: labels of shape (n,) or, of mixed images, shares of the classes of shape (n, classes).
          outputs: the logits.
        """
        if len(targets.shape) == 2:
            losses = keras.ops.categorical_crossentropy(targets, outputs, from_logits=True)
        else:
            losses = keras.ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        if self._smoothing:
            everywhere = keras.ops.logsumexp(outputs, axis=-1) - keras.ops.mean(outputs, axis=-1)
            losses = (1 - self._smoothing) * losses + self._smoothing * everywhere
        return losses

    def numbers(self, targets: Any, outputs: Any) -> Mapping[str, Any]:
        """Returns 1 for each example that is right; of a mixed one, its largest share counts."""
        if len(targets.shape) == 2:
            targets = keras.ops.argmax(targets, axis=-1)
        predicted = keras.ops.argmax(outputs, axis=-1)
        right = keras.ops.equal(predicted, keras.ops.cast(targets, predicted.dtype))
        found = {"accuracy": keras.ops.cast(right, "float32")}
        if self._top_k:
            among = keras.ops.in_top_k(targets, outputs, self._top_k)
            found[top_k(self._top_k)] = keras.ops.cast(among, "float32")
        return found

    def weights(self, split: Split) -> np.ndarray | None:
        """Returns the weight of each example, times that of its class; balanced classes have the same sum of these."""
        if self._class_weight == "":
            return split.weights
        if self._class_weight == BALANCED:
            sums = np.bincount(split.targets, split.weights, self.outputs.count)
            by_class = sums.sum() / (len(sums) * np.where(sums > 0, sums, 1))
        else:
            by_class = np.asarray(self._class_weight)
        return (by_class[split.targets] * (1 if split.weights is None else split.weights)).astype(np.float32)

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the probabilities of the classes."""
        return np.exp(_log_softmax(outputs))

    def replace_loss(self, function: Callable[[Any, Any], Any]) -> None:
        """Lets the network learn by another loss than the cross entropy."""
        super().replace_loss(function)
        self._replaced = True

    def losses(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns what `loss` does, computed in float64."""
        if self._replaced:
            return super().losses(targets, outputs)
        logarithms = _log_softmax(outputs)
        losses = -logarithms[np.arange(len(targets)), targets]
        return (1 - self._smoothing) * losses - self._smoothing * logarithms.mean(axis=1) if self._smoothing else losses

    def pictures(self, split: Split, outputs: np.ndarray) -> Iterator[tuple[str, Picture]]:
        """Yields the confusion matrix and the worst mistakes."""
        probabilities, labels = self.predictions(outputs), self.splits.labels
        yield "confusion_matrix", pictures.confusion_matrix(split.targets, probabilities, labels)
        if split.inputs.ndim == 4:
            yield "most_wrong", pictures.most_wrong(split.inputs, split.targets, probabilities, labels)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
