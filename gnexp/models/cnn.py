"""The original project's network, with the normalization as a choice.

Convolutions (3x3, valid), each with its norm and ReLU; 2x2 max pooling; dropout; dense, ReLU, dropout; class logits.
"""

import keras
from keras import layers
from ml_collections import ConfigDict

from gnexp.norms import by_name


def build(config: ConfigDict, input_shape: tuple[int, ...], num_classes: int, dtype: str = "float32") -> keras.Model:
    """Builds the network.

    Args:
      config: a config's `model` section.
      input_shape: (height, width, channels) of the images, which are uint8 from 0 to 255.
      num_classes: the number of classes; the network returns logits, float32 of shape (batch, num_classes).
      dtype: the layers' dtype policy.
    """
    images = keras.Input(input_shape, dtype="uint8", name="images")
    norm = by_name.factory(config, dtype)
    x = layers.Rescaling(1 / 255, dtype=dtype)(images)
    for number, width in enumerate(config.filters, start=1):
        x = layers.Conv2D(
            width,
            3,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(config.l2) if config.l2 else None,
            dtype=dtype,
            name=f"conv_{number}",
        )(x)
        x = norm(name=f"norm_{number}")(x)
        x = layers.ReLU(dtype=dtype)(x)
    x = layers.MaxPooling2D(dtype=dtype)(x)
    x = layers.Dropout(config.conv_dropout, dtype=dtype)(x)
    x = layers.Flatten(dtype=dtype)(x)
    x = layers.Dense(config.units, "relu", kernel_initializer="he_normal", dtype=dtype, name="dense")(x)
    x = layers.Dropout(config.dense_dropout, dtype=dtype)(x)
    # Always float32: softmax and loss would overflow in float16.
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=f"{config.norm}_cnn")
