"""Classification: softmax cross entropy over classes."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from gnexp.tasks import pictures
from gnexp.tasks.pictures import Picture
from gnexp.tasks.task import Evaluation


class Classification:
    """One class for each image; the network returns logits.

    Args:
      labels: the names of the classes.

    Attributes:
      outputs: how many classes there are.
    """

    def __init__(self, labels: Sequence[str]):
        self._labels = labels
        self.outputs = len(labels)

    def loss(self, targets, outputs):
        """Returns the mean sparse categorical cross entropy of a batch.

        Args:
          targets: integers of shape (n,).
          outputs: logits of shape (n, classes).
        """
        return keras.ops.mean(keras.ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True))

    def correct(self, targets, outputs):
        """Returns how many images of a batch have their highest logit at their class; arguments as for `loss`."""
        return keras.ops.sum(keras.ops.argmax(outputs, axis=-1) == targets)

    def evaluate(self, targets: np.ndarray, outputs: np.ndarray) -> Evaluation:
        """Returns mean cross entropy, accuracy and probabilities, in float64; arguments as for `loss`."""
        logits = outputs.astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        total = probabilities.sum(axis=1, keepdims=True)
        cross_entropy = np.log(total[:, 0]) - logits[np.arange(len(targets)), targets]
        return Evaluation(
            loss=float(cross_entropy.mean()),
            accuracy=float((logits.argmax(axis=1) == targets).mean()),
            probabilities=probabilities / total,
        )

    def pictures(self, inputs: np.ndarray, targets: np.ndarray, found: Evaluation) -> Iterator[tuple[str, Picture]]:
        """Yields the confusion matrix and the worst mistakes."""
        yield "confusion_matrix", pictures.confusion_matrix(targets, found.probabilities, self._labels)
        yield "most_wrong", pictures.most_wrong(inputs, targets, found.probabilities, self._labels)
