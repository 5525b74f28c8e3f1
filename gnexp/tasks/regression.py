"""Regression: the mean squared error of one number, or of several."""

import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from gnexp.config.objective import MAX, MIN
from gnexp.data.splits import Split, Splits
from gnexp.models.outputs import Outputs
from gnexp.tasks import pictures
from gnexp.tasks.pictures import Picture
from gnexp.tasks.task import Task

_ROUNDING = 1e-12  # of squares in float64: a smaller spread is that of equal targets


class Regression(Task):
    """One number for each example, targets of shape (n,), or several, of shape (n, numbers)."""

    figures = types.MappingProxyType({"mae": MIN, "mse": MIN, "r2": MAX})

    def __init__(self, splits: Splits):
        super().__init__(splits)
        targets = splits.train.targets
        self.outputs = Outputs(targets.shape[1] if targets.ndim == 2 else 1, logits=False)
        # R2 needs the spread of the targets: around the mean of the training's, so that float32 is enough there.
        mean = np.average(np.asarray(targets, np.float64), axis=0, weights=splits.train.weights)
        self._near = mean.astype(np.float32).reshape(1, -1)

    @property
    def counted(self) -> tuple[str, ...]:
        """The errors, and for each target what its R2 needs."""
        each = range(self.outputs.count)
        return ("mae", *(f"{what}_{target}" for what in ("error", "place", "square") for target in each))

    def _columns(self, targets: Any) -> Any:
        return keras.ops.reshape(keras.ops.cast(targets, "float32"), (-1, self.outputs.count))

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns the squared error of each example, the mean over its targets."""
        targets = self._columns(targets)
        return keras.ops.mean(keras.ops.square(targets - outputs), axis=-1)

    def numbers(self, targets: Any, outputs: Any) -> Mapping[str, Any]:
        """Returns the errors of each example, and its targets."""
        targets = self._columns(targets)
        errors, places = keras.ops.square(targets - outputs), targets - self._near
        numbers = {"mae": keras.ops.mean(keras.ops.abs(targets - outputs), axis=-1)}
        for what, values in (("error", errors), ("place", places), ("square", keras.ops.square(places))):
            numbers |= {f"{what}_{target}": values[:, target] for target in range(self.outputs.count)}
        return numbers

    def measured(self, targets: np.ndarray, outputs: np.ndarray) -> Mapping[str, np.ndarray]:
        """Returns what `numbers` does, with the targets in float64: they may be far from those of the training."""
        numbers = {**super().measured(targets, outputs)}
        if type(self).numbers is not Regression.numbers:  # A task of the user's may measure something else.
            return numbers
        places = np.asarray(targets, np.float64).reshape(-1, self.outputs.count) - self._near
        for target, place in enumerate(places.T):
            numbers |= {f"place_{target}": place, f"square_{target}": place**2}
        return numbers

    def values(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Returns mean absolute and squared error, and R2, the mean over the targets; 0 of a constant one."""
        each = range(self.outputs.count)
        errors = [means[f"error_{target}"] for target in each]
        squares = [means[f"square_{target}"] for target in each]
        spreads = [square - means[f"place_{target}"] ** 2 for target, square in enumerate(squares)]
        r2 = [
            1 - error / spread if spread > _ROUNDING * square else 0.0
            for error, spread, square in zip(errors, spreads, squares, strict=True)
        ]
        return {"mae": means["mae"], "mse": float(np.mean(errors)), "r2": float(np.mean(r2))}

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the predicted numbers, of the shape of the targets."""
        return outputs[:, 0] if self.splits.train.targets.ndim == 1 else outputs

    def pictures(self, split: Split, outputs: np.ndarray) -> Iterator[tuple[str, Picture]]:
        """Yields the predicted against the true numbers."""
        yield "predictions", pictures.predictions(split.targets.reshape(outputs.shape), outputs)
