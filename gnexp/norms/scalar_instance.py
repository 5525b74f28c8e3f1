"""The original project's "instance normalization", with a scalar gamma and beta."""

import math

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="gnexp")
class ScalarInstanceNormalization(layers.Layer):
    """The original project's "instance normalization": (x - mean) / (std + epsilon) * gamma + beta.

    One mean and one standard deviation per sample, over every other axis, channels included, and a scalar gamma and
    beta: group normalization with one group and a scalar affine. Kept to reproduce its curves.

    Source: shaoanlu/GroupNormalization-keras, `InstanceNormalization(axis=None)`.

    Args:
      epsilon: float above 0, added to the standard deviation (not to the variance).
      **kwargs: of `keras.layers.Layer`.

    Raises:
      ValueError: epsilon is no finite number above 0.

    Input and output are floating point, of any shape (batch, ...). Statistics are computed in float32 at least. A
    mask is passed on; it does not change them.
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs):
        if not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be a positive finite number. Received: epsilon={epsilon!r}")
        super().__init__(**kwargs)
        self.supports_masking = True
        self.autocast = False
        self.epsilon = epsilon

    def build(self, input_shape):
        """Creates the scalars gamma, initially 1, and beta, initially 0."""
        self.gamma = self.add_weight(shape=(), initializer="ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape=(), initializer="zeros", name="beta", autocast=False)

    def call(self, inputs):
        """Returns `inputs` normalized: same shape, dtype `compute_dtype`."""
        x = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axes = list(range(1, len(inputs.shape)))
        mean, variance = keras.ops.moments(x, axes=axes, keepdims=True)
        # The square root has no gradient at 0, where a sample is constant.
        deviation = keras.ops.where(variance > 0, keras.ops.sqrt(keras.ops.where(variance > 0, variance, 1)), 0)
        outputs = (x - mean) / (deviation + self.epsilon) * self.gamma + self.beta
        return keras.ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
