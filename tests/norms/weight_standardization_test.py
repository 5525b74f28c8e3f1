"""Weight standardization against float64 NumPy: values, gradients, and what becomes of a model."""

import keras
import numpy as np
import pytest
from keras import layers

from gnexp.norms import standardize, swap
from gnexp.norms.weight_standardization import (
    StandardizedConv1D,
    StandardizedConv2D,
    StandardizedConv3D,
    in_words,
)


def as_float64(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor).astype(np.float64)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 1.0, shape).astype("float32")


def standardized(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel with mean 0 and variance 1 over each output channel's weights (Qiao et al., eq. 5)."""
    axes = tuple(range(kernel.ndim - 1))
    return (kernel - kernel.mean(axes)) / kernel.std(axes)


@pytest.mark.parametrize(
    ("ours", "theirs", "shape", "settings"),
    [
        (StandardizedConv1D, layers.Conv1D, (9, 4), {"dilation_rate": 2}),
        (StandardizedConv1D, layers.Conv1D, (9, 4), {"padding": "causal"}),
        (StandardizedConv2D, layers.Conv2D, (7, 8, 4), {"strides": 2, "activation": "relu"}),
        (StandardizedConv2D, layers.Conv2D, (7, 8, 4), {"groups": 2, "use_bias": False, "padding": "same"}),
        (StandardizedConv3D, layers.Conv3D, (4, 5, 6, 2), {}),
    ],
)
def test_it_is_the_convolution_with_the_standardized_kernel(ours, theirs, shape, settings):
    x = drawn(3, *shape)
    ours, theirs = ours(6, 3, **settings), theirs(6, 3, **settings)
    for layer in (ours, theirs):
        layer.build(x.shape)
    kernel, *bias = ours.get_weights()
    kernel = drawn(*kernel.shape)
    ours.set_weights([kernel, *bias])
    theirs.set_weights([standardized(kernel.astype(np.float64)), *bias])
    np.testing.assert_allclose(as_float64(ours(x)), as_float64(theirs(x)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.get_weights()[0], kernel)


@pytest.mark.parametrize(("kind", "rank"), [(StandardizedConv1D, 1), (StandardizedConv2D, 2)])
def test_a_kernel_is_standardized_before_it_is_rounded(kind, rank):
    """Of weights of 10 +- 0.02, bfloat16 has but one or two values."""
    x = np.eye(4, dtype="float32").reshape(1, *[1] * (rank - 1), 4, 4)
    layer = kind(6, 1, use_bias=False, dtype="mixed_bfloat16")
    layer.build(x.shape)
    kernel = 10 + 0.02 * drawn(*layer.kernel.shape)
    layer.set_weights([kernel])
    expected = standardized(kernel.astype(np.float64)).reshape(4, 6)
    assert keras.backend.standardize_dtype(layer(x).dtype) == "bfloat16"
    np.testing.assert_allclose(as_float64(layer(x)).reshape(4, 6), expected, atol=0.02)


def model(regularizer: str | None = "l2") -> keras.Model:
    images = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(8, 3, kernel_regularizer=regularizer, name="conv")(images)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    return keras.Model(images, layers.Dense(2, name="dense")(layers.Flatten(name="flat")(x)), name="mine")


def test_a_copy_has_every_weight_and_other_outputs():
    x, before = drawn(2, 8, 8, 3), model()
    after = standardize(before)
    assert {layer.name: type(layer) for layer in after.layers}["conv"] is StandardizedConv2D
    assert type(after.get_layer("depthwise")) is layers.DepthwiseConv2D
    assert [weight.path for weight in after.weights] == [weight.path for weight in before.weights]
    for got, expected in zip(after.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not np.allclose(as_float64(after(x)), as_float64(before(x)))
    assert float(after.losses[0]) == float(before.losses[0])
    # The same again, with the kernel standardized by hand.
    kernel, bias = before.get_layer("conv").get_weights()
    before.get_layer("conv").set_weights([standardized(kernel.astype(np.float64)), bias])
    np.testing.assert_allclose(as_float64(after(x)), as_float64(before(x)), rtol=1e-3, atol=1e-4)


def test_a_step_moves_the_kernel_at_right_angles_to_itself():
    """The output does not depend on a kernel's scale, nor on its mean, so that the gradient has neither."""
    x, changed = drawn(4, 8, 8, 3), standardize(model(None))
    before = changed.get_layer("conv").get_weights()[0].astype(np.float64)
    changed.compile(keras.optimizers.SGD(1e-3), "mse")
    changed.train_on_batch(x, np.ones((4, 2), "float32"))
    step = changed.get_layer("conv").get_weights()[0] - before
    assert np.abs(step).max() > 1e-6
    axes = (0, 1, 2)
    for direction in (before, np.ones_like(before)):
        cosine = (step * direction).sum(axes) / np.sqrt((step**2).sum(axes) * (direction**2).sum(axes))
        np.testing.assert_allclose(cosine, 0, atol=1e-3)


def test_it_is_said_which_convolutions_stay_as_they_are():
    said = in_words(standardize(model()))
    assert said == "1 convolutions with standardized weights, 1 DepthwiseConv2D without"


def test_it_goes_with_a_swap_in_either_order_and_is_saved(tmp_path):
    x, start = drawn(2, 8, 8, 3), model()
    first, second = swap(standardize(start), groups=4), standardize(swap(start, groups=4))
    np.testing.assert_allclose(as_float64(first(x)), as_float64(second(x)), rtol=1e-5, atol=1e-6)
    first.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        as_float64(keras.models.load_model(tmp_path / "model.keras")(x)), as_float64(first(x))
    )


def test_a_single_weight_for_each_channel_is_refused():
    with pytest.raises(ValueError, match=r"stem .*one weight"):
        standardize(keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(8, 1, name="stem")]))


def test_a_model_without_convolutions_is_refused():
    with pytest.raises(ValueError, match="no convolution"):
        standardize(keras.Sequential([keras.Input((4,)), layers.Dense(8)]))
