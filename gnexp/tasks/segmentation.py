"""Segmentation: softmax cross entropy over the classes of each pixel."""

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


class Segmentation(Task):
    """A class for each pixel, as integer masks of shape (n, height, width); the network returns logits for each."""

    figures = dict.fromkeys(("mean_iou", "dice", "accuracy"), MAX)

    def __init__(self, splits: Splits):
        super().__init__(splits)
        self.outputs = Outputs(len(splits.labels), per_pixel=True)

    @property
    def counted(self) -> tuple[str, ...]:
        """For each class, how many pixels have it in the mask and in the prediction (`both`), and in either."""
        classes = range(self.outputs.count)
        return ("accuracy", *(f"both_{label}" for label in classes), *(f"either_{label}" for label in classes))

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the cross entropy of each image, the mean over its pixels."""
        losses = keras.ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        return keras.ops.mean(losses, axis=(1, 2))

    def numbers(self, targets: Any, outputs: Any) -> Mapping[str, Any]:
        """Returns shares of each image's pixels: right, and for each class in both masks and in either."""
        found = keras.ops.argmax(outputs, axis=-1)
        targets = keras.ops.cast(targets, found.dtype)

        def share(pixels: Any) -> Any:
            return keras.ops.mean(keras.ops.cast(pixels, "float32"), axis=(1, 2))

        numbers = {"accuracy": share(keras.ops.equal(found, targets))}
        pairs = [(targets == label, found == label) for label in range(self.outputs.count)]
        numbers |= {f"both_{label}": share(keras.ops.logical_and(*pair)) for label, pair in enumerate(pairs)}
        return numbers | {f"either_{label}": share(keras.ops.logical_or(*pair)) for label, pair in enumerate(pairs)}

    def values(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Returns means over the classes that occur, of intersection over union and of Dice's coefficient."""
        pairs = [(means[f"both_{label}"], means[f"either_{label}"]) for label in range(self.outputs.count)]
        pairs = [(both, either) for both, either in pairs if either]
        return {
            "mean_iou": float(np.mean([both / either for both, either in pairs])),
            "dice": float(np.mean([2 * both / (both + either) for both, either in pairs])),
            "accuracy": means["accuracy"],
        }

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the probabilities of the classes of each pixel."""
        exponentials = np.exp(outputs.astype(np.float64) - outputs.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def pictures(self, split: Split, outputs: np.ndarray) -> Iterator[tuple[str, Picture]]:
        """Yields masks over images: those with the lowest and with the highest accuracy."""
        yield "masks", pictures.masks(split.inputs, split.targets, outputs.argmax(axis=-1), self.splits.labels)
