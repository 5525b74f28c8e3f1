"""The network against a float64 NumPy version, norm by norm, and against the original's numbers."""

import keras
import numpy as np
import pytest

from gnexp.config import schema
from gnexp.data.splits import SHAPE
from gnexp.models.build import build
from gnexp.norms.scalar_instance import ScalarInstanceNormalization

BACKEND = keras.backend.backend()
CLASSES = 10
MOMENTUM = 0.99  # of the config
_ON_ALL = ("group", "batch", "none")  # The others, too, are compared on each backend in tests/norms.
NORMS = [
    pytest.param(norm, marks=() if norm in _ON_ALL else pytest.mark.any_backend)
    for norm in schema.NORMS
    if norm != "keep"
]


@pytest.fixture
def no_kernels(monkeypatch):
    """Starts every kernel at zero, because JAX takes seconds to compile a random initializer for each shape."""
    for initializer in (keras.initializers.HeNormal, keras.initializers.GlorotUniform):
        monkeypatch.setattr(initializer, "__call__", lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype))


@pytest.fixture
def section(config, no_kernels):
    """Returns a config's `model` section: a small network without dropout, and with an epsilon large enough to show."""
    config.model.update(groups=4, epsilon=0.1)
    config.model.args.update(filters=(8, 12), units=16, conv_dropout=0.0, dense_dropout=0.0)
    config.model.virtual_batch_size = 2
    return config.model


def as_float64(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")).astype(np.float64)


def images(count: int, size: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 1)).astype(np.uint8)


def randomized(model: keras.Model) -> keras.Model:
    """Sets every weight, the norms' included, to a random value; variances stay positive."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values = rng.normal(0.0, 0.3, weight.shape)
        weight.assign(np.abs(values) + 0.5 if weight.name in ("gamma", "moving_variance") else values)
    return model


def normalized(x: np.ndarray, norm: str, groups: int, epsilon: float, moments=None) -> np.ndarray:
    """Returns x of shape (n, height, width, channels) normalized, before gamma and beta, by the papers' index sets."""
    n, height, width, channels = x.shape
    match norm:
        case "none":
            return x
        case "instance_scalar":
            return (x - x.mean((1, 2, 3), keepdims=True)) / (x.std((1, 2, 3), keepdims=True) + epsilon)
        case "ghost_batch" if not moments:  # virtual batches of at most 2 images
            parts = np.array_split(x, -(-n // 2))
            return np.concatenate([normalized(part, "batch", groups, epsilon) for part in parts])
        case "batch" | "ghost_batch" | "frozen_batch":
            mean, variance = moments or (x.mean((0, 1, 2)), x.var((0, 1, 2)))
        case "layer":
            mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
        case "instance":
            mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        case "group":
            x = x.reshape(n, height, width, groups, channels // groups)
            mean, variance = x.mean((1, 2, 4), keepdims=True), x.var((1, 2, 4), keepdims=True)
    return ((x - mean) / np.sqrt(variance + epsilon)).reshape(n, height, width, channels)


def reference(model: keras.Model, section, x: np.ndarray, training: bool = False) -> np.ndarray:
    """Returns the logits in float64, with the model's weights."""

    def weights(layer: str) -> dict[str, np.ndarray]:
        return {weight.name: as_float64(weight) for weight in model.get_layer(layer).weights}

    x = x / 255
    for number in range(1, len(section.args.filters) + 1):
        conv, norm = weights(f"conv_{number}"), weights(f"norm_{number}")
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))  # (n, height, width, in, 3, 3)
        x = np.einsum("nhwcij,ijco->nhwo", windows, conv["kernel"]) + conv["bias"]
        batch = training and section.norm != "frozen_batch"
        moving = None if batch else (norm.get("moving_mean"), norm.get("moving_variance"))
        x = normalized(x, section.norm, section.groups, section.epsilon, moving)
        x = np.maximum(x * norm.get("gamma", 1.0) + norm.get("beta", 0.0), 0)
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
    for layer, activation in (("dense", lambda x: np.maximum(x, 0)), ("logits", lambda x: x)):
        x = activation(x.reshape(n, -1) @ weights(layer)["kernel"] + weights(layer)["bias"])
    return x


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_the_network_computes_what_float64_numpy_computes(section, norm, training):
    section.norm = norm
    x = images(5)
    model = randomized(build(section, x.shape[1:], CLASSES))
    expected = reference(model, section, x, training)
    np.testing.assert_allclose(as_float64(model(x, training=training)), expected, rtol=2e-5, atol=2e-5)
    assert np.ptp(expected, axis=0).min() > 0.01, "the reference hardly depends on the images"


@pytest.mark.any_backend
@pytest.mark.parametrize("filters", [(5,), (4, 8, 16)])
def test_there_is_one_convolution_for_each_width(section, filters):
    section.norm, section.args.filters = "instance", filters
    x = images(2, size=13)
    model = randomized(build(section, x.shape[1:], CLASSES))
    np.testing.assert_allclose(as_float64(model(x)), reference(model, section, x), rtol=2e-5, atol=2e-5)


def test_batch_normalization_learns_its_moving_statistics(section):
    section.norm = "batch"
    x = images(8)
    model = randomized(build(section, x.shape[1:], CLASSES))
    kernel, bias = (as_float64(weight) for weight in model.get_layer("conv_1").weights)
    windows = np.lib.stride_tricks.sliding_window_view(x / 255, (3, 3), axis=(1, 2))
    seen = np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias
    norm = model.get_layer("norm_1")
    mean, variance = as_float64(norm.moving_mean), as_float64(norm.moving_variance)
    model(x, training=True)
    for found, before, now in (
        (norm.moving_mean, mean, seen.mean((0, 1, 2))),
        (norm.moving_variance, variance, seen.var((0, 1, 2))),
    ):
        np.testing.assert_allclose(as_float64(found), MOMENTUM * before + (1 - MOMENTUM) * now, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("norm", "weights", "learned"),
    [
        ("group", 2 * (32 + 64), 2 * (32 + 64)),
        ("layer", 2 * (32 + 64), 2 * (32 + 64)),
        ("instance", 2 * (32 + 64), 2 * (32 + 64)),
        ("batch", 4 * (32 + 64), 2 * (32 + 64)),
        ("ghost_batch", 4 * (32 + 64), 2 * (32 + 64)),
        ("frozen_batch", 4 * (32 + 64), 0),
        ("instance_scalar", 2 * (1 + 1), 2 * (1 + 1)),
        ("none", 0, 0),
    ],
)
def test_the_network_is_as_large_as_the_originals(config, no_kernels, norm, weights, learned):
    config.model.norm = norm
    model = build(config.model, SHAPE, CLASSES)
    convolutions = (3 * 3 * 1 * 32 + 32) + (3 * 3 * 32 * 64 + 64)
    dense = ((28 - 2 - 2) // 2) ** 2 * 64 * 128 + 128 + (128 * 10 + 10)
    assert sum(np.prod(weight.shape, dtype=int) for weight in model.weights) == convolutions + dense + weights
    assert sum(np.prod(w.shape, dtype=int) for w in model.trainable_weights) == convolutions + dense + learned


@pytest.mark.any_backend
def test_weights_start_as_he_and_glorot_say(config):
    keras.utils.set_random_seed(0)
    config.model.args.filters = (64,)
    model = build(config.model, (6, 6, 1), CLASSES)
    for name, inputs in (("conv_1", 3 * 3), ("dense", 2 * 2 * 64)):  # He et al., arXiv 1502.01852: truncated normal
        kernel, bias = (as_float64(weight) for weight in model.get_layer(name).weights)
        assert kernel.std() == pytest.approx(np.sqrt(2 / inputs), rel=0.1)
        assert np.abs(kernel).max() > 1.9 * kernel.std(), "a uniform distribution"
        assert not bias.any()
    kernel = as_float64(model.get_layer("logits").kernel)  # Glorot & Bengio 2010: uniform
    limit = np.sqrt(6 / (128 + 10))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
    norm = model.get_layer("norm_1")
    assert (as_float64(norm.gamma) == 1).all()
    assert not as_float64(norm.beta).any()


@pytest.mark.parametrize("l2", [0.0, 1e-5, 0.5])
def test_l2_is_on_the_convolution_kernels_only(section, l2):
    section.args.l2 = l2
    model = randomized(build(section, (12, 12, 1), CLASSES))
    kernels = [as_float64(model.get_layer(name).kernel) for name in ("conv_1", "conv_2")]
    penalty = sum(float(as_float64(loss)) for loss in model.losses)
    assert penalty == pytest.approx(l2 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)
    assert len(model.losses) == (2 if l2 else 0)


@pytest.mark.any_backend
def test_dropout_takes_its_share_behind_the_pooling_and_behind_the_dense_layer(section):
    section.norm = "none"
    section.args.update(conv_dropout=0.25, dense_dropout=0.6)
    x = images(300)
    model = randomized(build(section, x.shape[1:], CLASSES))
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    before, after = [layer.input for layer in dropouts], [layer.output for layer in dropouts]
    assert [tensor.shape[1:] for tensor in before] == [(4, 4, 12), (16,)]
    befores, afters = keras.Model(model.input, [before, after])(x, training=True)
    for rate, kept, left in zip((0.25, 0.6), map(as_float64, befores), map(as_float64, afters), strict=True):
        dropped = (left == 0)[kept > 0]
        assert dropped.mean() == pytest.approx(rate, abs=0.05)
        np.testing.assert_allclose(left[kept > 0][~dropped], kept[kept > 0][~dropped] / (1 - rate), rtol=1e-5)
    np.testing.assert_array_equal(as_float64(model(x)), as_float64(model(x)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.any_backend)])
def test_mixed_precision_computes_narrow_and_gives_float32_logits(section, norm, policy):
    section.norm = norm
    x = images(4)
    model = randomized(build(section, x.shape[1:], CLASSES, policy))
    narrow = policy.removeprefix("mixed_")
    for name in ("conv_1", "norm_1", "conv_2", "norm_2", "dense"):
        assert model.get_layer(name).output.dtype == narrow
    assert {weight.dtype for weight in model.weights} == {"float32"}
    logits = model(x)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    expected = reference(model, section, x)
    tolerance = {"float16": 0.01, "bfloat16": 0.06}[narrow] * np.abs(expected).max()
    np.testing.assert_allclose(as_float64(logits), expected, atol=tolerance)
    wide = build(section, x.shape[1:], CLASSES)
    wide.set_weights(model.get_weights())
    assert not np.array_equal(as_float64(wide(x)), as_float64(logits))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.any_backend)])
def test_a_saved_model_comes_back_with_the_same_predictions(section, tmp_path, norm, policy):
    section.norm = norm
    x = images(4)
    model = randomized(build(section, x.shape[1:], CLASSES, policy))
    model.save(tmp_path / "best.keras")
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(as_float64(loaded(x)), as_float64(model(x)))


# The original's scalar instance normalization, apart from the network


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3), (2, 5, 6, 4)])
def test_the_scalar_norm_divides_by_deviation_plus_epsilon(shape):
    x = np.random.default_rng(2).normal(3.0, 0.2, shape).astype("float32")
    layer = ScalarInstanceNormalization(epsilon=0.3)
    layer.build(shape)
    layer.set_weights([np.float32(1.7), np.float32(-0.4)])
    flat = x.reshape(len(x), -1).astype(np.float64)
    expected = (flat - flat.mean(1, keepdims=True)) / (flat.std(1, keepdims=True) + 0.3) * 1.7 - 0.4
    np.testing.assert_allclose(as_float64(layer(x)), expected.reshape(shape), rtol=1e-5, atol=1e-5)


def test_the_scalar_norm_keeps_its_statistics_in_float32():
    x = np.random.default_rng(3).normal(100_000.0, 30_000.0, (2, 4, 4, 8)).astype("float32")  # float16 ends at 65,504
    y = ScalarInstanceNormalization(dtype="mixed_float16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    flat = x.reshape(2, -1).astype(np.float64)
    expected = (flat - flat.mean(1, keepdims=True)) / (flat.std(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(as_float64(y).reshape(2, -1), expected, atol=2e-3)


def test_the_scalar_norm_has_a_gradient_at_a_constant_sample():
    x = np.stack([np.full((4, 4, 2), 7.0), np.random.default_rng(4).normal(size=(4, 4, 2))]).astype("float32")
    layer = ScalarInstanceNormalization()
    layer.build(x.shape)
    if BACKEND == "jax":
        import jax

        gradient = jax.grad(lambda x: (layer(x) ** 2).sum())(x)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x := tf.constant(x))
            y = tf.reduce_sum(layer(x) ** 2)
        gradient = tape.gradient(y, x)
    assert np.isfinite(np.asarray(gradient)).all()
