"""Ghost batch normalization (Hoffer, Hubara & Soudry, https://arxiv.org/abs/1705.08741)."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="gnexp")
class GhostBatchNormalization(layers.BatchNormalization):
    """Batch normalization over parts of the batch, as on several devices that do not share their statistics.

    In training, the batch is split, in order, into ceil(batch / virtual_batch_size) virtual batches. Each is normalized
    by its own mean and variance. A batch that cannot be split into full ones is split as evenly as possible, so that
    the last batch of an epoch leaves no image alone: 33 images with 32 to a virtual batch are 17 and 16.

    In inference, the moving averages are used. Each training step updates them once, with the mean over the virtual
    batches of their means and of their variances, so that `momentum` counts steps, as in batch normalization. (Hoffer
    et al. update them with one virtual batch after the other.)

    Args:
      virtual_batch_size: images in a virtual batch, 1 or more.
      **kwargs: of `keras.layers.BatchNormalization`, apart from `renorm` and `synchronized`.

    Inputs are floating point, of any shape with the batch on axis 0. The output has their shape and the layer's
    `compute_dtype`; the statistics are computed in float32 or wider. A mask is passed on; it does not change the
    statistics.

    Raises:
      ValueError: an argument is out of its range.
    """

    def __init__(self, virtual_batch_size=32, **kwargs):
        size = virtual_batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"virtual_batch_size must be a whole number of 1 or more. Received: {size!r}")
        for name in ("renorm", "synchronized"):
            if kwargs.get(name):
                raise ValueError(f"{name}=True is not available with virtual batches")
        super().__init__(**kwargs)
        self.virtual_batch_size = size

    def call(self, inputs, training=None, mask=None):
        """Returns `inputs` normalized: same shape, dtype `compute_dtype`."""
        if not (training and self.trainable) or inputs.shape[0] == 0:  # An empty batch has no statistics.
            return super().call(inputs, training=False)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axis = self.axis % len(x.shape)
        positions = tuple(index for index in range(1, len(x.shape)) if index != axis)
        shape = (-1, *(x.shape[axis] if index == axis else 1 for index in range(1, len(x.shape))))
        number, count = _virtual_batches(ops.shape(x)[0], self.virtual_batch_size)
        images = ops.segment_sum(ops.ones_like(number, x.dtype), number, count)

        def means(values):
            """Returns the mean of each virtual batch: shape (virtual batches, channels)."""
            each = ops.mean(values, axis=positions) if positions else values
            return ops.segment_sum(each, number, count) / images[:, None]

        def spread(values):
            return ops.reshape(ops.take(values, number, axis=0), shape)

        mean = means(x)
        x = x - spread(mean)
        variance = means(ops.square(x))
        for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.mean(seen, axis=0) * (1 - self.momentum))
        factor = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            factor = factor * ops.cast(self.gamma, x.dtype)
        x = x * spread(factor)
        if self.center:
            x = x + ops.reshape(ops.cast(self.beta, x.dtype), (1, *shape[1:]))
        return ops.cast(x, self.compute_dtype)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "virtual_batch_size": self.virtual_batch_size}


def _virtual_batches(batch, size):
    """Returns the virtual batch of each image, an int32 tensor of shape (batch,), and how many there are."""
    count = (batch + size - 1) // size
    small = batch // count
    larger = batch % count  # how many have one image more
    image = ops.arange(batch, dtype="int32")
    return ops.where(image < larger * (small + 1), image // (small + 1), (image - larger) // small), count
