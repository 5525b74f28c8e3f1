"""A multilayer perceptron: dense layers, each with its norm, ReLU and dropout; class logits."""

from collections.abc import Callable, Sequence

import keras
from keras import layers


def build(
    inputs: keras.KerasTensor,
    outputs: int,
    norm: Callable[..., layers.Layer],
    units: Sequence[int] = (128, 128),
    dropout: float = 0.0,
) -> keras.Model:
    """Builds the network.

    Args:
      inputs: images or numbers, (batch, ...).
      outputs: the number of classes; the network returns logits, float32 of shape (batch, outputs).
      norm: `norm(name=...)` returns a new norm.
      units: the width of each hidden layer.
      dropout: the dropout after each hidden layer.
    """
    x = layers.Flatten()(inputs)
    for number, width in enumerate(units, start=1):
        x = layers.Dense(width, kernel_initializer="he_normal", name=f"dense_{number}")(x)
        x = norm(name=f"norm_{number}")(x)
        x = layers.ReLU()(x)
        x = layers.Dropout(dropout)(x) if dropout else x
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="mlp")
