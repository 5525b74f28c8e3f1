"""The network: the original project's, with the normalization as a choice.

Convolutions (3x3, valid), each with its norm and ReLU; 2x2 max pooling; dropout; dense, ReLU, dropout; class logits.
"""

import keras
from keras import layers
from ml_collections import ConfigDict

from gnexp.group_normalization import GroupNormalization


@keras.saving.register_keras_serializable(package="gnexp")
class ScalarInstanceNormalization(layers.Layer):
    """What the original project ran as "instance normalization": (x - mean) / (std + epsilon) * gamma + beta.

    One mean and one standard deviation per sample, over every other axis, channels included, and a scalar gamma and
    beta: group normalization with one group and a scalar affine. Kept to reproduce its curves.

    Source: shaoanlu/GroupNormalization-keras, `InstanceNormalization(axis=None)`.

    Args:
      epsilon: float above 0, added to the standard deviation (not to the variance).
      **kwargs: of `keras.layers.Layer`.

    Input and output: floating point, of any shape (batch, ...). Statistics are taken in float32 at least.
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs):
        """Makes the layer."""
        super().__init__(**kwargs)
        self.autocast = False
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes gamma and beta, each of shape ()."""
        self.gamma = self.add_weight(shape=(), initializer="ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape=(), initializer="zeros", name="beta", autocast=False)

    def call(self, inputs):
        """Normalizes each sample."""
        x = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axes = list(range(1, len(inputs.shape)))
        mean, variance = keras.ops.moments(x, axes=axes, keepdims=True)
        # The square root has no gradient at 0, where a sample is constant.
        deviation = keras.ops.where(variance > 0, keras.ops.sqrt(keras.ops.where(variance > 0, variance, 1)), 0)
        outputs = (x - mean) / (deviation + self.epsilon) * self.gamma + self.beta
        return keras.ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


def _norm(config: ConfigDict, dtype: str) -> layers.Layer:
    match config.norm:
        case "group":
            return GroupNormalization(config.groups, epsilon=config.epsilon, dtype=dtype)
        case "layer":
            return GroupNormalization(1, epsilon=config.epsilon, dtype=dtype)
        case "instance":
            return GroupNormalization(-1, epsilon=config.epsilon, dtype=dtype)
        case "batch":
            return layers.BatchNormalization(epsilon=config.epsilon, dtype=dtype)
        case "instance_scalar":
            return ScalarInstanceNormalization(config.epsilon, dtype=dtype)
        case "none":
            return layers.Identity(dtype=dtype)
    raise ValueError(f"norm={config.norm!r}")


def build(config: ConfigDict, input_shape: tuple[int, ...], num_classes: int, dtype: str = "float32") -> keras.Model:
    """Builds the network.

    Args:
      config: a config's `model` section.
      input_shape: (height, width, channels) of the images, which come as uint8 from 0 to 255.
      num_classes: how many logits come out, as float32 of shape (batch, num_classes).
      dtype: the layers' dtype policy.
    """
    images = keras.Input(input_shape, dtype="uint8", name="images")
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
        norm = _norm(config, dtype)
        norm.name = f"norm_{number}"
        x = norm(x)
        x = layers.ReLU(dtype=dtype)(x)
    x = layers.MaxPooling2D(dtype=dtype)(x)
    x = layers.Dropout(config.conv_dropout, dtype=dtype)(x)
    x = layers.Flatten(dtype=dtype)(x)
    x = layers.Dense(config.units, "relu", kernel_initializer="he_normal", dtype=dtype, name="dense")(x)
    x = layers.Dropout(config.dense_dropout, dtype=dtype)(x)
    # Softmax and loss overflow in float16.
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=f"{config.norm}_cnn")
