"""Random changes of training images, with their targets, by Keras's own layers inside the training step."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict

from gnexp.config import augment
from gnexp.config.paths import flatten
from gnexp.data import stream
from gnexp.data.splits import Split, Splits
from gnexp.errors import FunctionError, UserError
from gnexp.functions.load import cause
from gnexp.tasks.task import Task

_SHOWN = 24


@contextlib.contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Lets Python's random numbers begin at a seed, and go on afterwards as if none had been drawn.

    AugMix draws by them what it traces. No checkpoint holds them, so every trace has to draw the same.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


class Augment:
    """The layers of a config's `data.augment`.

    Args:
      config: of a training.
      splits: its dataset.
      task: what is learned; the masks of a segmentation get the same geometry as their images.

    Attributes:
      variables: the states of the layers' random generators.

    Raises:
      UserError: the inputs are no images, or a layer mixes targets, or weights, that cannot be mixed.
      FunctionError: a layer does not take its arguments, or changes the size of an image.
    """

    def __init__(self, config: ConfigDict, splits: Splits, task: Task):
        self._names = augment.used(flatten(config))
        self._masks, self._classes = task.outputs.per_pixel, task.outputs.count
        self._dtype, mixing = splits.input_dtype, [name for name in self._names if name in augment.MIXING]
        if self._names and len(splits.input_shape) != 3:
            what = f"config.{augment.SECTION} is not allowed: the inputs of {config.data.name} are no images"
            raise UserError(what + splits.without_channels)
        if mixing and config.task.name != "classification":
            raise UserError(
                f"config.{augment.SECTION}.{mixing[0]} is not allowed with config.task.name={config.task.name!r}: it "
                "mixes labels, as of a classification"
            )
        if mixing and splits.train.weights is not None:
            raise UserError(
                f"config.{augment.SECTION}.{mixing[0]} is not allowed with sample weights: it would mix images of "
                "different weights"
            )
        if self._masks:
            self._check_masks(config)
        self._mixes, self._seed = bool(mixing), config.seed
        self._layers = [self._made(name, config, place) for place, name in enumerate(self._names)]
        self.variables = [variable for layer in self._layers for variable in layer.variables]
        if self._names:
            self._check(stream.first(splits.train, 2))

    def __bool__(self) -> bool:
        """Whether there is any layer."""
        return bool(self._layers)

    def _check_masks(self, config: ConfigDict) -> None:
        """Refuses what would give pixels a class that they do not have; raises UserError."""
        for name in self._names:
            if name in augment.BLENDING:
                raise UserError(
                    f"config.{augment.SECTION}.{name} is not allowed with config.task.name={config.task.name!r}: it "
                    "would mix the classes of a mask; rand_augment does not"
                )
            value = config.data.augment[name].get("fill_value")
            if value and name != "random_erasing":  # That leaves masks as they are.
                raise UserError(
                    f"config.{augment.SECTION}.{name}.fill_value={value} is not allowed with config.task.name="
                    f"{config.task.name!r}: it would fill the masks as well; it must be 0, the first class"
                )

    def _made(self, name: str, config: ConfigDict, place: int) -> keras.Layer:
        arguments = config.data.augment[name].to_dict()
        layer = getattr(keras.layers, augment.LAYERS[name])
        if "value_range" in augment.arguments(name) and self._dtype != "uint8":
            arguments.setdefault("value_range", (0, 1))
        try:
            # 997 keeps the seeds of one training's layers apart from those of the next seed's.
            seed = (config.seed * 997 + place) % 2**32  # JAX takes no larger ones.
            return layer(**arguments, **augment.seeded(name, seed), dtype="float32")
        except Exception as error:  # whatever a layer of Keras raises for an argument
            raise FunctionError(f"config.{augment.SECTION}.{name} is not allowed: {cause(error)}") from error

    def __call__(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Returns a batch, changed at random, in keras.ops; the labels of mixed images are shares of the classes.

        Args:
          inputs: tensor of shape (n, height, width, channels).
          targets: tensor of shape (n, ...).
        """
        batch = {"images": keras.ops.cast(inputs, "float32")}
        if self._mixes:
            batch["labels"] = keras.ops.one_hot(targets, self._classes, dtype="float32")
        elif self._masks:
            batch["segmentation_masks"] = keras.ops.cast(targets, "float32")[..., None]
        with _drawing(self._seed):
            for layer in self._layers:
                batch = layer(batch, training=True)
        images = batch["images"]
        if self._dtype == "uint8":
            images = keras.ops.clip(keras.ops.round(images), 0, 255)
        if self._mixes:
            targets = batch["labels"]
        elif self._masks:
            targets = keras.ops.cast(batch["segmentation_masks"][..., 0], targets.dtype)
        return keras.ops.cast(images, self._dtype), targets

    @contextlib.contextmanager
    def _aside(self):
        """Lets the random generators stay as they are."""
        states = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        yield
        for variable, state in zip(self.variables, states, strict=True):
            variable.assign(state)

    def _check(self, few: Split) -> None:
        """Changes a few examples; raises FunctionError if a layer fails, or if they do not keep their shapes."""
        name = ", ".join(self._names)
        try:
            with self._aside():
                images, _ = self(*map(keras.ops.convert_to_tensor, (few.inputs, few.targets)))
        except Exception as error:  # whatever a layer of Keras raises
            raise FunctionError(f"config.{augment.SECTION} ({name}) cannot take a batch: {cause(error)}") from error
        if tuple(images.shape) != few.inputs.shape:
            raise FunctionError(
                f"config.{augment.SECTION} ({name}) changes the shape of an image from {few.inputs.shape[1:]} to "
                f"{tuple(images.shape[1:])}: images must keep their shape; random_translation moves them and keeps it"
            )

    def examples(self, splits: Splits) -> np.ndarray:
        """Returns the first training images, changed at random, as an array of shape (n, height, width, channels)."""
        few = stream.first(splits.train, _SHOWN)
        with self._aside():
            images, _ = self(*map(keras.ops.convert_to_tensor, (few.inputs, few.targets)))
        return keras.ops.convert_to_numpy(images)
