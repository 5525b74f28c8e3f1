"""Several labels for each example: binary cross entropy for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from gnexp.config.objective import MAX
from gnexp.data.splits import Split, Splits
from gnexp.models.outputs import Outputs
from gnexp.tasks import pictures
from gnexp.tasks.pictures import Picture
from gnexp.tasks.task import Task


class Multilabel(Task):
    """Any number of labels for each example, as 0 and 1 of shape (n, labels); the network returns logits."""

    figures = dict.fromkeys(("accuracy", "f1"), MAX)
    counted = ("accuracy", "hits", "positives")

    def __init__(self, splits: Splits):
        super().__init__(splits)
        self.outputs = Outputs(splits.train.targets.shape[1])

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the binary cross entropy of each example, the mean over its labels."""
        targets = keras.ops.cast(targets, outputs.dtype)
        return keras.losses.binary_crossentropy(targets, outputs, from_logits=True)

    def numbers(self, targets: Any, outputs: Any) -> Mapping[str, Any]:
        """Returns the share of labels that are right, and what the F1 score over all labels needs (micro average)."""
        true, found = keras.ops.cast(targets, "bool"), outputs > 0
        hits = keras.ops.logical_and(true, found)
        positives = keras.ops.cast(true, "float32") + keras.ops.cast(found, "float32")
        return {
            "accuracy": keras.ops.mean(keras.ops.cast(keras.ops.equal(true, found), "float32"), axis=-1),
            "hits": keras.ops.sum(keras.ops.cast(hits, "float32"), axis=-1),
            "positives": keras.ops.sum(positives, axis=-1),
        }

    def values(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Returns the share of labels that are right, and the F1 score; 0 where there is no label at all."""
        return {
            "accuracy": means["accuracy"],
            "f1": 2 * means["hits"] / means["positives"] if means["positives"] else 0.0,
        }

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the probability of each label."""
        with np.errstate(over="ignore"):  # Of an infinite one, the probability is 0.
            return 1 / (1 + np.exp(-outputs.astype(np.float64)))

    def pictures(self, split: Split, outputs: np.ndarray) -> Iterator[tuple[str, Picture]]:
        """Yields how often each label is found, missed and seen where it is not."""
        names = self.splits.labels or tuple(map(str, range(self.outputs.count)))
        yield "labels", pictures.labels(split.targets, outputs > 0, names)
