"""Group normalization (Wu & He, https://arxiv.org/abs/1803.08494) as a Keras layer."""

import math
from numbers import Integral, Real

import keras
from keras import ops


def normalize(x, gamma, beta, axis, groups, epsilon):
    """Normalizes groups of channels, then scales and shifts each channel.

    A pivot is first subtracted from each group: its mean, as the dtype of `x` rounds it. The remainder of the mean is
    computed together with the variance, so that both keep their digits when the mean is far from zero.

    Args:
        x: Floating-point tensor of rank 2 or more, the batch on axis 0; it is cast to the dtype of `gamma` first.
        gamma: Tensor of shape `(channels,)`.
        beta: Tensor of the shape and dtype of `gamma`.
        axis: The channel axis of `x`, counted from the front.
        groups: The number of groups, a divisor of the number of channels.
        epsilon: Added to the variance.

    Returns:
        A tensor with the shape of `x` and the dtype of `gamma`.
    """
    x, rank, channels = ops.cast(x, gamma.dtype), len(x.shape), gamma.shape[0]
    size = channels // groups
    positions = tuple(i for i in range(1, rank) if i != axis)
    shape = ops.shape(x)
    count = ops.maximum(ops.cast(size * math.prod(shape[i] for i in positions), x.dtype), 1)

    # Figures of a group or a channel are small, (batch, groups, 1) or (batch, channels): only passes over x cost time.
    def of_group(values):
        return ops.sum(ops.reshape(values, (-1, groups, size)), axis=-1, keepdims=True)

    def of_channel(values):
        return ops.reshape(values * ops.ones((size,), x.dtype), (-1, channels))

    def spread(values):
        return ops.reshape(values, (-1, *(channels if i == axis else 1 for i in range(1, rank))))

    def forward(x, gamma, beta):
        # Stopping the gradient is exact: a shift of a whole group does not change the result.
        pivot = ops.stop_gradient(of_group(ops.sum(x, axis=positions)) / count)
        x = x - spread(of_channel(pivot))
        mean = of_group(ops.sum(x, axis=positions)) / count
        # Rounding may make the variance of a constant group slightly negative.
        variance = ops.maximum(of_group(_sum_of_squares(x, positions)) / count - ops.square(mean), 0)
        inverse = ops.rsqrt(variance + epsilon)
        factor = of_channel(inverse) * gamma
        y = x * spread(factor) + spread(beta - of_channel(mean) * factor)

        def backward(*arguments, upstream=None):
            dy = arguments[0] if upstream is None else upstream
            dbeta = ops.sum(dy, axis=positions)
            dgamma = (ops.sum(dy * x, axis=positions) - of_channel(mean) * dbeta) * of_channel(inverse)
            # dx = factor * dy - inverse * (mean of gamma * dy + n * mean of gamma * dy * n), where n is x normalized
            slope = of_group(gamma * dgamma) * ops.square(inverse) / -count
            offset = of_group(gamma * dbeta) * inverse / -count - slope * mean
            dx = (dy * spread(factor) + spread(of_channel(offset))) + x * spread(of_channel(slope))
            return dx, ops.sum(dgamma, axis=0), ops.sum(dbeta, axis=0)

        return y, backward

    if keras.backend.backend() == "tensorflow":
        # TensorFlow's own gradient takes twice the passes. XLA fuses JAX's, and JAX's jvp needs a plain function.
        return ops.custom_gradient(forward)(x, gamma, beta)
    return forward(x, gamma, beta)[0]


def _sum_of_squares(x, axes):
    if keras.backend.backend() == "tensorflow" and not is_for_xla():
        import tensorflow as tf

        # TensorFlow's only operation that squares and sums in one pass; XLA does not support it.
        return ops.square(tf.math.reduce_euclidean_norm(x, axes))
    return ops.sum(ops.square(x), axis=axes)


def is_for_xla():
    """Tells whether the graph that TensorFlow is tracing will be compiled by XLA (`jit_compile=True`)."""
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


@keras.saving.register_keras_serializable(package="gnexp")
class GroupNormalization(keras.layers.Layer):
    """Normalizes each sample over groups of its channels, whatever the batch size.

    The channels are cut, in order, into `groups` sets of equal size. Within one sample, the elements of one set at all
    positions share a mean and a variance (the index set of eq. 7, the statistics of eq. 2). Each element is centered
    and divided by the standard deviation (eq. 1), then each channel is scaled by its `gamma` and shifted by its `beta`
    (eq. 6). `groups=1` is layer normalization over all axes but the batch, `groups=-1` is instance normalization.

    A drop-in replacement for `keras.layers.GroupNormalization`: same arguments, same weights. But `epsilon` defaults to
    1e-6 (there 1e-3), and `get_config` returns `groups` as it was given, -1 included. It can also stand where a
    `BatchNormalization` stood, as in `keras.models.clone_model`: a call takes `training` and `mask`, and ignores them.

    Shapes and dtypes: inputs have any rank from 2 up, the batch on axis 0; every size but the number of channels may be
    unknown until run time. The output has the shape of the inputs and the layer's `compute_dtype`. The statistics are
    computed in float32, or in float64 if the inputs or the layer are, before any narrower cast, so that float32 values
    outside float16's range are still normalized. A mask is passed on; it does not change the statistics.

    Example:
        >>> x = np.random.normal(5.0, 3.0, size=(2, 26, 26, 32))
        >>> y = GroupNormalization(groups=8)(x)
        >>> tuple(y.shape)
        (2, 26, 26, 32)

    Args:
        groups: The number of groups, a divisor of the number of channels, or -1 for one group per channel. Defaults
            to 32.
        axis: The channel axis, counted from the front or, when negative, from the back. Never the batch axis.
        epsilon: Added to the variance, so that a constant group gives `beta` and not NaN.
        center: Whether to add `beta`, a weight of shape `(channels,)`.
        scale: Whether to multiply by `gamma`, a weight of shape `(channels,)`.
        beta_initializer: Initializer of `beta`.
        gamma_initializer: Initializer of `gamma`.
        beta_regularizer: Regularizer of `beta`, or None.
        gamma_regularizer: Regularizer of `gamma`, or None.
        beta_constraint: Constraint on `beta`, or None.
        gamma_constraint: Constraint on `gamma`, or None.
        group: The name of `groups` in https://github.com/shaoanlu/GroupNormalization-keras; give only one of the two.
        **kwargs: The arguments of every Keras layer, such as `name` and `dtype`.

    Raises:
        ValueError: An argument is out of its range, or `groups` and `group` are both given. When the layer is built:
            the inputs have no such channel axis, or their number of channels is unknown or not a multiple of `groups`.
    """

    # Computes the outputs, with the arguments of `normalize`. One instance may be given another function, which may
    # return the dtype of `x`, too.
    kernel = staticmethod(normalize)

    def __init__(
        self,
        groups=None,
        axis=-1,
        epsilon=1e-6,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        *,
        group=None,
        **kwargs,
    ):
        if groups is not None and group is not None:
            raise ValueError(f"group is an alias of groups: give one. Received: groups={groups!r}, group={group!r}")
        if groups is None:
            groups = 32 if group is None else group
        if not _is_integer(groups) or (groups < 1 and groups != -1):
            raise ValueError(f"groups must be a positive integer or -1, one per channel. Received: groups={groups!r}")
        if not _is_integer(axis) or axis == 0:
            raise ValueError(f"axis must be an integer other than 0, the batch axis. Received: axis={axis!r}")
        if not isinstance(epsilon, Real) or isinstance(epsilon, bool) or not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be a positive finite number. Received: epsilon={epsilon!r}")
        super().__init__(**kwargs)
        self.supports_masking = True
        # The layer casts for itself, after the statistics: float32 inputs may not fit into a narrower compute_dtype.
        self.autocast = False
        self.groups = int(groups)
        self.axis = int(axis)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.beta_regularizer = keras.regularizers.get(beta_regularizer)
        self.gamma_regularizer = keras.regularizers.get(gamma_regularizer)
        self.beta_constraint = keras.constraints.get(beta_constraint)
        self.gamma_constraint = keras.constraints.get(gamma_constraint)

    def build(self, input_shape):
        """Creates `gamma` and `beta`, each of shape `(channels,)`; ValueError if the channels cannot be split."""
        axis, groups, size = self._split_channels(input_shape)
        # Kept for call(), where a traced graph may not know the number of channels.
        self._split = (axis, groups, size)
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={axis: groups * size})
        self.gamma = self._channel_weight("gamma", groups * size) if self.scale else None
        self.beta = self._channel_weight("beta", groups * size) if self.center else None

    def _channel_weight(self, name, channels):
        return self.add_weight(
            shape=(channels,),
            name=name,
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
            autocast=False,
        )

    def _split_channels(self, shape):
        """Returns the channel axis counted from the front, the number of groups and the channels in each."""
        rank = len(shape)
        where = f"Received: inputs of shape {tuple(shape)}, axis={self.axis}, groups={self.groups}"
        if rank < 2:
            raise ValueError(f"Inputs must have rank 2 or more: a batch axis and a channel axis. {where}")
        if not -rank < self.axis < rank:
            raise ValueError(f"axis must lie in 1..{rank - 1} or in {1 - rank}..-1 for inputs of rank {rank}. {where}")
        axis = self.axis % rank
        channels = shape[axis]
        if not channels:
            raise ValueError(f"The number of channels must be known and not 0; it is {channels}. {where}")
        groups = self._groups_of(channels)
        if channels % groups:
            allowed = [count for count in range(1, channels + 1) if channels % count == 0]
            raise ValueError(f"{groups} groups do not divide {channels} channels; allowed: -1 and {allowed}. {where}")
        return axis, groups, channels // groups

    def _groups_of(self, channels):
        return channels if self.groups == -1 else self.groups

    def call(self, inputs, training=None, mask=None):
        """Returns `inputs` normalized: same shape, dtype `compute_dtype`. `training` and `mask` change nothing."""
        axis, groups, size = self._split
        dtype = keras.backend.result_type(inputs.dtype, self.compute_dtype, "float32")
        gamma = ops.cast(self.gamma, dtype) if self.scale else ops.ones((groups * size,), dtype)
        beta = ops.cast(self.beta, dtype) if self.center else ops.zeros((groups * size,), dtype)
        if keras.backend.standardize_dtype(inputs.dtype) != self.compute_dtype:
            inputs = ops.cast(inputs, dtype)
        outputs = self.kernel(inputs, gamma, beta, axis, groups, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape` as a tuple; ValueError if its channels cannot be split."""
        self._split_channels(input_shape)
        return tuple(input_shape)

    def get_config(self):
        """Returns the constructor's arguments, as `from_config` takes them."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": keras.initializers.serialize(self.beta_initializer),
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "beta_regularizer": keras.regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": keras.regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": keras.constraints.serialize(self.beta_constraint),
            "gamma_constraint": keras.constraints.serialize(self.gamma_constraint),
        }


def _is_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool)
