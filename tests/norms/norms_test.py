"""The norms by name: ghost and frozen batch normalization, and fitted groups, against NumPy and Keras."""

import keras
import numpy as np
import pytest
from keras import layers

from gnexp.group_normalization import GroupNormalization
from gnexp.norms import table
from gnexp.norms.by_name import Norm
from gnexp.norms.fitted import FittedGroupNormalization
from gnexp.norms.ghost_batch import GhostBatchNormalization
from gnexp.norms.scalar_instance import ScalarInstanceNormalization


def as_float64(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor).astype(np.float64)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, shape).astype("float32")


def randomized(layer: layers.Layer, shape) -> layers.Layer:
    """Builds a layer, and gives each weight a random value of 0.5 to 1.5."""
    layer.build(shape)
    random = np.random.default_rng(1)
    layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return layer


# Ghost batch normalization


@pytest.mark.parametrize(
    ("count", "size", "parts"),
    [
        (8, 4, [4, 4]),
        (8, 8, [8]),
        (3, 8, [3]),
        (9, 4, [3, 3, 3]),
        (7, 3, [3, 2, 2]),
        (17, 16, [9, 8]),
        (4, 1, [1, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5, 4, 6), -1), *(pytest.param(*each, marks=pytest.mark.any_backend) for each in [((6, 5), 1), ((6,), -1)])],
)
def test_each_virtual_batch_is_normalized_by_its_own_statistics(count, size, parts, shape, axis):
    x = drawn(count, *shape)
    layer = randomized(GhostBatchNormalization(size, axis=axis, epsilon=0.1, momentum=0.9), x.shape)
    gamma, beta, mean, variance = (as_float64(weight) for weight in layer.weights)
    channels_last = np.moveaxis(x.astype(np.float64), axis, -1)
    expected, means, variances = [], [], []
    for part in np.split(channels_last, np.cumsum(parts)[:-1]):
        axes = tuple(range(part.ndim - 1))
        means.append(part.mean(axes))
        variances.append(part.var(axes))
        expected.append((part - means[-1]) / np.sqrt(variances[-1] + 0.1) * gamma + beta)
    y = as_float64(layer(x, training=True))
    np.testing.assert_allclose(np.moveaxis(y, axis, -1), np.concatenate(expected), rtol=1e-4, atol=1e-5)
    moved = 0.9 * mean + 0.1 * np.mean(means, 0), 0.9 * variance + 0.1 * np.mean(variances, 0)
    for got, expected in zip((layer.moving_mean, layer.moving_variance), moved, strict=True):
        np.testing.assert_allclose(as_float64(got), expected, rtol=1e-5)


def test_one_virtual_batch_is_keras_batch_normalization_in_values_and_gradients():
    x, dy = drawn(2, 6, 4, 4, 3)
    ours = randomized(GhostBatchNormalization(6), x.shape)
    theirs = randomized(layers.BatchNormalization(), x.shape)
    for training in (True, False):
        results = []
        for layer in (ours, theirs):
            y, gradients = _with_gradients(layer, x, dy, training)
            results.append([y, *gradients, *(as_float64(weight) for weight in layer.weights)])
        for got, expected in zip(*results, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def _with_gradients(layer, x, dy, training):
    """Returns a layer's outputs, and the gradients of sum(outputs * dy) by x, gamma and beta."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(y * dy)
        found = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        return as_float64(y), [as_float64(gradient) for gradient in found]
    import jax

    others = [weight.value for weight in layer.non_trainable_variables]

    def loss(x, trainable):
        y, updated = layer.stateless_call(trainable, others, x, training=training)
        return (y * dy).sum(), (y, updated)

    trainable = [weight.value for weight in layer.trainable_variables]
    (dx, dweights), (y, updated) = jax.grad(loss, argnums=(0, 1), has_aux=True)(x, trainable)
    for variable, value in zip(layer.non_trainable_variables, updated, strict=True):
        variable.assign(value)
    return as_float64(y), [as_float64(dx), *map(as_float64, dweights)]


def test_ghost_batches_are_computed_in_float32_under_mixed_precision():
    x = drawn(4, 4, 4, 8) * 5_000  # float16 ends at 65,504; squares are far outside
    layer = GhostBatchNormalization(2, dtype="mixed_float16")
    y = layer(x.astype("float16"), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert np.isfinite(as_float64(y)).all()
    assert as_float64(y)[:2].std((0, 1, 2)) == pytest.approx(np.ones(8), abs=0.01)


@pytest.mark.parametrize("arguments", [{"virtual_batch_size": 0}, {"virtual_batch_size": 1.5}, {"renorm": True}])
def test_wrong_arguments_of_ghost_batches_are_refused_by_name(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        GhostBatchNormalization(**arguments)


def test_an_empty_batch_changes_nothing():
    layer = randomized(GhostBatchNormalization(4), (None, 4, 3))
    before = layer.get_weights()
    assert tuple(layer(np.zeros((0, 4, 3), "float32"), training=True).shape) == (0, 4, 3)
    for got, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, expected)


# Frozen batch normalization


def test_a_frozen_norm_is_a_constant_affine_that_no_step_changes():
    x = drawn(8, 4, 4, 3)
    layer = randomized(Norm("frozen_batch", epsilon=0.1)(), x.shape)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer, layers.Conv2D(3, 1)])
    gamma, beta, mean, variance = before = [as_float64(weight) for weight in layer.weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, x, epochs=1, verbose=0)
    for got, expected in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(as_float64(got), expected)
    for training in (True, False):
        expected = (x - mean) / np.sqrt(variance + 0.1) * gamma + beta
        np.testing.assert_allclose(as_float64(layer(x, training=training)), expected, rtol=1e-4, atol=1e-5)


def test_a_frozen_norm_of_a_thawed_model_keeps_its_averages():
    x = drawn(8, 4)
    layer = randomized(Norm("frozen_batch", epsilon=0.1)(), x.shape)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.trainable = False  # On TensorFlow, Keras does nothing where the value is the former one.
    model.trainable = True
    gamma, beta, mean, variance = (as_float64(weight) for weight in layer.weights)
    expected = (x - mean) / np.sqrt(variance + 0.1) * gamma + beta
    np.testing.assert_allclose(as_float64(model(x, training=True)), expected, rtol=1e-4, atol=1e-5)
    for got, before in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        np.testing.assert_array_equal(as_float64(got), before)
    assert [weight.name for weight in model.trainable_weights] == ["gamma", "beta"]


def test_a_frozen_norm_computes_as_keras_s_own_layer_that_is_frozen():
    x = drawn(8, 4, 4, 3)
    ours = randomized(Norm("frozen_batch", epsilon=0.1)(), x.shape)
    theirs = randomized(layers.BatchNormalization(epsilon=0.1, trainable=False), x.shape)
    np.testing.assert_array_equal(as_float64(ours(x, training=True)), as_float64(theirs(x, training=True)))


# The original's instance normalization


@pytest.mark.any_backend
def test_a_scalar_instance_norm_passes_a_mask_on():
    words = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])
    embedded = layers.Embedding(7, 6, mask_zero=True)(words)
    pool = layers.GlobalAveragePooling1D()
    normalized = as_float64(found := ScalarInstanceNormalization()(embedded))
    expected = [row[:count].mean(axis=0) for row, count in zip(normalized, (2, 3), strict=True)]
    np.testing.assert_allclose(as_float64(pool(found)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.any_backend
@pytest.mark.parametrize("epsilon", [0, -1e-3, float("inf"), float("nan")])
def test_a_scalar_instance_norm_needs_an_epsilon(epsilon):
    with pytest.raises(ValueError, match="epsilon must be a positive finite number"):
        ScalarInstanceNormalization(epsilon)


# Groups


@pytest.mark.parametrize(
    ("arguments", "channels", "groups"),
    [
        ({"groups": 8}, 24, 8),
        ({"groups": -1}, 24, 24),
        ({"groups": 32, "fit": "gcd"}, 24, 8),
        ({"groups": 32, "fit": "gcd"}, 11, 1),
        ({"groups": 32, "fit": "gcd"}, 728, 8),
        ({"groups": -1, "fit": "gcd"}, 6, 6),
        ({"channels_per_group": 16}, 48, 3),
        ({"channels_per_group": 16, "fit": "gcd"}, 24, 3),
        ({"channels_per_group": 4, "groups": 5}, 8, 2),
    ],
)
def test_groups_fit_the_channels(arguments, channels, groups):
    model = keras.Sequential([keras.Input((3, 3, channels)), Norm("group", **arguments)(name="norm")])
    (row,) = table.rows(model)
    assert (row.path, row.groups, row.channels_per_group) == ("norm", groups, channels // groups)


def test_fitted_groups_compute_what_keras_computes_with_their_number():
    x = drawn(2, 3, 3, 24)
    expected = keras.layers.GroupNormalization(3, epsilon=1e-3)(x)
    found = Norm("group", channels_per_group=16, fit="gcd", epsilon=1e-3)()(x)
    np.testing.assert_allclose(as_float64(found), as_float64(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 5}, "5 groups do not divide 24"),
        ({"channels_per_group": 5}, "5 channels per group do not divide 24"),
    ],
)
def test_groups_that_do_not_fit_are_refused_with_those_that_do(arguments, message):
    with pytest.raises(ValueError, match=rf"{message} channels; allowed: .*\b12\b"):
        Norm("group", **arguments)()(drawn(2, 3, 3, 24))


@pytest.mark.parametrize("arguments", [{"fit": "nearest"}, {"channels_per_group": -1}, {"channels_per_group": 1.5}])
def test_wrong_arguments_of_fitted_groups_are_refused_by_name(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        FittedGroupNormalization(**arguments)


def test_exact_groups_are_the_plain_layer():
    assert type(Norm("group", 8)()) is GroupNormalization


# All of them


@pytest.mark.parametrize(
    "norm",
    [
        Norm("group", 4, "gcd", epsilon=0.1),
        Norm("ghost_batch", epsilon=0.1, momentum=0.5, virtual_batch_size=3),
        Norm("frozen_batch", epsilon=0.1),
    ],
)
def test_a_saved_layer_comes_back(tmp_path, norm):
    x = drawn(4, 3, 3, 6)
    model = keras.Sequential([keras.Input(x.shape[1:]), randomized(norm(), x.shape)])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    np.testing.assert_array_equal(as_float64(loaded(x)), as_float64(model(x)))


@pytest.mark.parametrize("kind", ["group", "layer", "instance", "batch", "ghost_batch", "frozen_batch"])
def test_shared_arguments_reach_the_layer(kind):
    layer = Norm(kind, groups=2)(name="last", gamma_initializer="zeros", axis=1, center=False, scale=True)
    layer.build((None, 4, 6, 6))
    assert (layer.name, layer.axis, layer.center) == ("last", 1, False)
    assert not as_float64(layer.gamma).any()


def test_norms_without_these_weights_ignore_the_arguments_of_the_others():
    for kind, expected in (("none", layers.Identity), ("instance_scalar", ScalarInstanceNormalization)):
        assert type(Norm(kind)(name="last", gamma_initializer="zeros")) is expected


def test_an_argument_that_no_norm_has_is_refused():
    with pytest.raises(TypeError, match="gama_initializer"):
        Norm("none")(gama_initializer="zeros")
