"""Weight standardization (Qiao et al., https://arxiv.org/abs/1903.10520) of the convolutions of any Keras model."""

import collections
import math

import keras
from keras import layers, ops

from gnexp.norms import table
from gnexp.norms.rebuild import rebuild

# Added to the variance of the weights, as in BiT (google-research/big_vision, `models/bit.py`).
EPSILON = 1e-10


class _Standardized:
    """Convolves with the kernel standardized: over each output channel's weights, mean 0 and variance 1.

    The variable `kernel` is the one that is learned, regularized, constrained and saved. It is standardized in each
    call, so that gradients pass through (the paper's eq. 5, with the epsilon inside of the root).
    """

    def add_weight(self, *arguments, **settings):
        """Creates a weight; the kernel stays as wide as it is, because its rounding grows with what is standardized."""
        wide = {"autocast": False} if settings.get("name") == "kernel" else {}
        return super().add_weight(*arguments, **settings, **wide)

    def build(self, input_shape):
        """Creates the weights; ValueError if an output channel has a single weight, whose standardized value is 0."""
        super().build(input_shape)
        if math.prod(self.kernel.shape[:-1]) == 1:
            raise ValueError(f"{self.name} has one weight for each output channel, which cannot be standardized")

    def convolution_op(self, inputs, kernel):
        """Returns the convolution of `inputs` with the standardized kernel."""
        return super().convolution_op(inputs, ops.cast(standardized(kernel), inputs.dtype))


def standardized(kernel):
    """Returns a kernel of shape (..., channels) with mean 0 and variance 1 over the weights of each channel."""
    wide = ops.cast(kernel, keras.backend.result_type(kernel.dtype, "float32"))
    axes = list(range(len(kernel.shape) - 1))
    mean, variance = ops.mean(wide, axes, keepdims=True), ops.var(wide, axes, keepdims=True)
    return ops.cast((wide - mean) * ops.rsqrt(variance + EPSILON), kernel.dtype)


@keras.saving.register_keras_serializable(package="gnexp")
class StandardizedConv1D(_Standardized, layers.Conv1D):
    """`keras.layers.Conv1D` with weight standardization."""

    def call(self, inputs):
        """Returns the convolution as Keras's other convolutions do: Conv1D's own `call` has no `convolution_op`."""
        if self.padding == "causal":
            inputs = ops.pad(inputs, self._compute_causal_padding())
        return super(layers.Conv1D, self).call(inputs)

    def convolution_op(self, inputs, kernel):
        """Returns the convolution of `inputs`, padded already where that is causal, with the standardized kernel."""
        kernel = ops.cast(standardized(kernel), inputs.dtype)
        padding = "valid" if self.padding == "causal" else self.padding
        strides, dilation = list(self.strides), self.dilation_rate
        return ops.conv(inputs, kernel, strides, padding, self.data_format, dilation)


@keras.saving.register_keras_serializable(package="gnexp")
class StandardizedConv2D(_Standardized, layers.Conv2D):
    """`keras.layers.Conv2D` with weight standardization."""


@keras.saving.register_keras_serializable(package="gnexp")
class StandardizedConv3D(_Standardized, layers.Conv3D):
    """`keras.layers.Conv3D` with weight standardization."""


_STANDARDIZED = {
    layers.Conv1D: StandardizedConv1D,
    layers.Conv2D: StandardizedConv2D,
    layers.Conv3D: StandardizedConv3D,
}


_OTHERS = (
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


def in_words(model: keras.Model) -> str:
    """Returns how many convolutions of a model standardize their kernels, and how many others do not."""
    found = [layer for _, layer in table.walk(model)]
    done = sum(isinstance(layer, _Standardized) for layer in found)
    others = (type(layer).__name__ for layer in found if isinstance(layer, _OTHERS) or type(layer) in _STANDARDIZED)
    left = ", ".join(f"{count} {name}" for name, count in collections.Counter(others).items())
    return f"{done} convolutions with standardized weights" + (f", {left} without" if left else "")


def standardize(model: keras.Model) -> keras.Model:
    """Returns a copy of a model whose convolutions standardize their kernels; every weight is copied.

    Conv1D, Conv2D and Conv3D are replaced, grouped ones too. Depthwise, separable and transposed convolutions stay as
    they are, and so do convolutions inside of other layers.

    Raises:
      ValueError: the model has no such convolution, or cannot be copied (`rebuild`); a convolution has a single weight
        for each output channel.
    """
    found = 0

    def replace(layer):
        nonlocal found
        if type(layer) not in _STANDARDIZED:
            return None
        found += 1
        return _STANDARDIZED[type(layer)].from_config(layer.get_config())

    copy = rebuild(model, replace)
    if not found:
        raise ValueError(f"{model.name} has no convolution whose weights can be standardized")
    return copy
