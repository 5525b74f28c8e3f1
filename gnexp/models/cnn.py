"""The original project's network.

Convolutions (3x3, valid), each with its norm and ReLU; 2x2 max pooling; dropout; dense, ReLU, dropout; class logits.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers


def build(
    inputs: keras.KerasTensor,
    outputs: int,
    norm: Callable[..., layers.Layer],
    filters: Sequence[int] = (32, 64),
    units: int = 128,
    conv_dropout: float = 0.25,
    dense_dropout: float = 0.5,
    l2: float = 1e-5,
) -> keras.Model:
    """Builds the network.

    Args:
      inputs: images from 0 to 1, (batch, height, width, channels).
      outputs: the number of classes; the network returns logits, float32 of shape (batch, outputs).
      norm: `norm(name=...)` returns a new norm.
      filters: the width of each convolution.
      units: the width of the dense layer.
      conv_dropout: the dropout after the convolutions.
      dense_dropout: the dropout after the dense layer.
      l2: of the convolution kernels.
    """
    x = inputs
    for number, width in enumerate(filters, start=1):
        x = layers.Conv2D(
            width,
            3,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            name=f"conv_{number}",
        )(x)
        x = norm(name=f"norm_{number}")(x)
        x = layers.ReLU()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(conv_dropout)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(units, "relu", kernel_initializer="he_normal", name="dense")(x)
    x = layers.Dropout(dense_dropout)(x)
    # Always float32: softmax and loss would overflow in float16.
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="cnn")
