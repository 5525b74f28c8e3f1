"""The layer against float64 NumPy, PyTorch's kernel and keras.layers.GroupNormalization, on TensorFlow and on JAX."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnexp import group_normalization
from gnexp.group_normalization import GroupNormalization
from gnexp.norms import native

BACKEND = keras.backend.backend()
REPOSITORY = Path(group_normalization.__file__).parents[1]
needs_float64 = pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless the whole process asks for it")


@pytest.fixture(scope="module", params=["plain", *(["native"] if BACKEND == "tensorflow" else [])])
def kernel(request):
    """Runs a test twice: its layers compute with keras.ops, then with the C++ kernel."""
    if request.param == "plain":
        yield request.param
        return
    found = native.load()
    if not found:
        pytest.skip("the C++ kernel cannot be compiled here: there is no C++ compiler, say")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupNormalization, "kernel", staticmethod(found))
        yield request.param


on_both_paths = pytest.mark.usefixtures("kernel")


def reference(x, gamma, beta, groups, axis, epsilon):
    """Returns the layer's values in float64, one sample and one group at a time."""
    y = np.empty(x.shape, np.float64)
    for sample_in, sample_out in zip(np.moveaxis(x, axis, 1), np.moveaxis(y, axis, 1), strict=True):
        for members in np.split(np.arange(len(sample_in)), groups):
            values = sample_in[members].astype(np.float64)
            normal = (values - values.mean()) / np.sqrt(values.var() + epsilon)
            column = (-1,) + (1,) * (values.ndim - 1)
            sample_out[members] = normal * gamma[members].reshape(column) + beta[members].reshape(column)
    return y


def reference_gradients(x, gamma, dy, groups, axis, epsilon):
    """Returns dx, dgamma and dbeta in float64: in each group dx = (dn - mean(dn) - n mean(n dn)) / deviation."""
    channels = len(gamma)
    normal = np.moveaxis(reference(x, np.ones(channels), np.zeros(channels), groups, axis, epsilon), axis, 1)
    dy = np.moveaxis(dy, axis, 1).astype(np.float64)
    grouped = (len(x), groups, -1)
    n = normal.reshape(grouped)
    dn = (dy * gamma.reshape((-1,) + (1,) * (dy.ndim - 2))).reshape(grouped)
    variance = np.moveaxis(x, axis, 1).reshape(grouped).astype(np.float64).var(-1, keepdims=True)
    dx = (dn - dn.mean(-1, keepdims=True) - n * (n * dn).mean(-1, keepdims=True)) / np.sqrt(variance + epsilon)
    all_but_channels = tuple(i for i in range(dy.ndim) if i != 1)
    return (
        np.moveaxis(dx.reshape(dy.shape), 1, axis),
        (dy * normal).sum(all_but_channels),
        dy.sum(all_but_channels),
    )


def as_float64(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32" if BACKEND == "jax" else "float64")).astype("f8")


def gradients(layer, x, dy):
    """Returns y, dx and the gradient of each weight, as tensors."""
    x = keras.ops.convert_to_tensor(x)
    weights = [weight.value for weight in layer.trainable_variables]
    if BACKEND == "jax":
        import jax

        @jax.jit  # one compilation instead of one for each operation
        def values_and_gradients(weights, x, dy):
            y, pull_back = jax.vjp(lambda weights, x: layer.stateless_call(weights, [], x)[0], weights, x)
            dweights, dx = pull_back(dy.astype(y.dtype))
            return y, dx, *dweights

        return values_and_gradients(weights, x, dy)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return y, *tape.gradient(y, [x, *weights], output_gradients=tf.cast(dy, y.dtype))


def built(x, *, seed=0, **arguments):
    """Returns a layer built for x, with a gamma and a beta that differ in every channel."""
    layer = GroupNormalization(**arguments)
    layer.build(x.shape)
    scatter(layer, seed)
    return layer


def scatter(layer, seed=0):
    """Sets the weights to quarters, which every dtype holds exactly."""
    random = np.random.default_rng(seed)
    layer.set_weights([random.integers(-8, 9, weight.shape) / 4 for weight in layer.weights])


def gamma_and_beta(layer):
    return as_float64(layer.gamma), as_float64(layer.beta)


def run_python(script, *arguments):
    """Runs `script` in a fresh interpreter that can import gnexp, and returns its last line of output."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


# Values and gradients


@st.composite
def cases(draw):
    rank = draw(st.integers(2, 5))
    axis = draw(st.integers(1, rank - 1))
    groups, size = draw(st.sampled_from([(1, 1), (1, 4), (2, 1), (2, 3), (3, 2), (4, 2)]))
    shape = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    shape[axis] = groups * size
    policies = ["float32", "mixed_float16", "mixed_bfloat16", *([] if BACKEND == "jax" else ["float64"])]
    policy = draw(st.sampled_from(policies))
    dtype = draw(st.sampled_from(["float32", keras.DTypePolicy(policy).compute_dtype]))
    # XLA, which JAX always compiles with, may compute a mean twice in one step and round it differently.
    large_mean_is_exact = dtype in ("float32", "float64") and BACKEND != "jax"
    return {
        "shape": tuple(shape),
        "axis": draw(st.sampled_from([axis, axis - rank])),
        "groups": draw(st.sampled_from([groups, -1])) if size == 1 else groups,
        "epsilon": draw(st.sampled_from([1e-5, 1e-3, 1.0])),
        "policy": policy,
        "dtype": dtype,
        "mean": draw(st.sampled_from([0, 4096])) if large_mean_is_exact else 0,
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@on_both_paths
@settings(max_examples=25 if BACKEND == "jax" else 100, deadline=None)
@given(cases())
def test_values_and_gradients_are_those_of_float64_numpy(case):
    random = np.random.default_rng(case["seed"])
    x, dy = random.integers(-8, 9, (2, *case["shape"])) / 4  # quarters: exact in every dtype
    arguments = {name: case[name] for name in ("groups", "axis", "epsilon")}
    layer = built(x, dtype=case["policy"], seed=case["seed"], **arguments)
    gamma, beta = gamma_and_beta(layer)
    arguments["groups"] = len(gamma) if case["groups"] == -1 else case["groups"]

    # A shift of all inputs changes none of these, so NumPy need not round large numbers.
    y, dx, dgamma, dbeta = gradients(layer, keras.ops.cast(x + case["mean"], case["dtype"]), dy)

    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    precision = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5, "float64": 1e-12}
    expected = [reference(x, gamma, beta, **arguments), *reference_gradients(x, gamma, dy, **arguments)]
    grouped = np.moveaxis(x, case["axis"], -1).reshape(
        len(x), -1, arguments["groups"], len(gamma) // arguments["groups"]
    )
    # Where a group has no variance, dx is the difference of terms that may be hundreds.
    terms = abs(gamma).max() * abs(dy).max() / np.sqrt(grouped.var(axis=(1, 3)).min() + case["epsilon"])
    for name, ours, theirs in zip(("y", "dx", "dgamma", "dbeta"), (y, dx, dgamma, dbeta), expected, strict=True):
        # Statistics are in float32 at least, so only what leaves in a narrower dtype is allowed its rounding error;
        # float32 inputs of a float64 layer do not come back as float64.
        tolerance = precision[keras.backend.standardize_dtype(ours.dtype)]
        largest = max(1.0, abs(theirs).max(), terms if name == "dx" else 0)
        np.testing.assert_allclose(as_float64(ours), theirs, rtol=0, atol=tolerance * largest, err_msg=name)


@pytest.mark.parametrize(("shape", "axis", "groups"), [((2, 6), 1, 3), ((2, 3, 4), 2, 2), ((2, 4, 3, 2), 1, 2)])
def test_reference_gradients_are_the_slopes_of_the_reference(shape, axis, groups):
    random = np.random.default_rng(1)
    x, dy = random.normal(size=(2, *shape))
    gamma, beta = random.normal(size=(2, shape[axis]))

    def loss(x, gamma, beta):
        return (reference(x, gamma, beta, groups, axis, 1e-3) * dy).sum()

    def slopes(position):
        arguments = [x, gamma, beta]
        result = np.empty_like(arguments[position])
        for index in np.ndindex(result.shape):
            nudge = np.zeros_like(result)
            nudge[index] = 1e-5
            up, down = ([*arguments] for _ in range(2))
            up[position], down[position] = up[position] + nudge, down[position] - nudge
            result[index] = (loss(*up) - loss(*down)) / 2e-5
        return result

    for position, expected in enumerate(reference_gradients(x, gamma, dy, groups, axis, 1e-3)):
        np.testing.assert_allclose(expected, slopes(position), rtol=1e-6, atol=1e-7)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the kernel is TensorFlow's")
@pytest.mark.parametrize("shape", [(3, 30, 30, 32), (2, 7, 5, 40), (2, 0, 16)])
def test_the_kernel_computes_bfloat16_as_float32_and_rounds_once(shape):
    import tensorflow as tf

    if not (found := native.load()):
        pytest.skip("the C++ kernel cannot be compiled here: there is no C++ compiler, say")
    random = np.random.default_rng(3)
    x, dy = (tf.cast(random.normal(1.0, 3.0, shape), tf.bfloat16) for _ in range(2))
    weights = [tf.constant(random.normal(size=shape[-1:]), tf.float32) for _ in range(2)]

    def values_and_gradients(dtype):
        inputs = [tf.cast(x, dtype), *weights]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = found(*inputs, len(shape) - 1, 8, 1e-6)
        return [y, *tape.gradient(y, inputs, output_gradients=tf.cast(dy, dtype))]

    for narrow, wide in zip(values_and_gradients(tf.bfloat16), values_and_gradients(tf.float32), strict=True):
        expected = as_float64(tf.cast(wide, narrow.dtype))
        np.testing.assert_array_equal(as_float64(narrow), expected)
    lost = tf.tensor_scatter_nd_update(tf.ones((1, 32), tf.bfloat16), [[0, 3]], tf.constant([np.nan], tf.bfloat16))
    assert np.isnan(as_float64(found(lost, tf.ones(32), tf.zeros(32), 1, 2, 1e-6))).sum() == 16


@on_both_paths
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("shape", [(4, 12), (4, 12, 9), (4, 12, 5, 7), (2, 12, 3, 4, 5)])
def test_values_and_gradients_are_those_of_pytorch(shape, axis):
    torch = pytest.importorskip("torch", reason="PyTorch is a peer to compare with, not a dependency")
    random = np.random.default_rng(2)
    x, dy = random.normal(2.0, 3.0, size=(2, *shape)).astype("float32")
    layer = built(np.moveaxis(x, 1, axis), groups=4, axis=axis)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, *layer.get_weights())]
    theirs = torch.nn.functional.group_norm(tensors[0], 4, *tensors[1:], eps=layer.epsilon)
    theirs.backward(torch.tensor(dy))

    y, dx, *dweights = gradients(layer, np.moveaxis(x, 1, axis), np.moveaxis(dy, 1, axis))

    ours = [np.moveaxis(as_float64(y), axis, 1), np.moveaxis(as_float64(dx), axis, 1), *map(as_float64, dweights)]
    for got, expected in zip(ours, [theirs.detach(), *(tensor.grad for tensor in tensors)], strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-4)


@on_both_paths
@pytest.mark.parametrize("switches", [{}, {"center": False}, {"scale": False}, {"center": False, "scale": False}])
@pytest.mark.parametrize(
    ("shape", "axis", "groups"),
    [((3, 8), -1, 4), ((3, 5, 8), 2, 1), ((2, 8, 3, 4), 1, 2), ((2, 3, 8, 4), -2, -1), ((2, 3, 4, 2, 8), -1, 8)],
)
def test_values_and_weights_are_those_of_keras(shape, axis, groups, switches):
    x = np.random.default_rng(3).normal(2.0, 3.0, size=shape).astype("float32")
    ours = built(x, groups=groups, axis=axis, epsilon=1e-3, **switches)
    theirs = keras.layers.GroupNormalization(groups=groups, axis=axis, epsilon=1e-3, **switches)
    theirs.build(shape)
    assert [(v.name, v.shape, v.dtype) for v in ours.weights] == [(v.name, v.shape, v.dtype) for v in theirs.weights]
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(as_float64(ours(x)), as_float64(theirs(x)), rtol=1e-4, atol=1e-5)


@on_both_paths
def test_error_is_no_larger_than_that_of_keras_where_the_mean_is_10000_deviations():
    x = np.random.default_rng(4).normal(10_000.0, 1.0, size=(8, 16, 16, 32)).astype("float32")
    expected = reference(x, np.ones(32), np.zeros(32), 8, -1, 1e-6)
    ours = as_float64(GroupNormalization(8)(x)) - expected
    theirs = as_float64(keras.layers.GroupNormalization(8, epsilon=1e-6)(x)) - expected
    assert abs(ours).max() <= abs(theirs).max()
    assert np.square(ours).mean() <= np.square(theirs).mean()
    assert abs(ours).max() < 1e-5


# XLA may compute a mean twice in one step and round it differently.
@on_both_paths
@pytest.mark.parametrize("groups", [1, 4, 12])
@pytest.mark.parametrize("mean", [0, 100 if BACKEND == "jax" else 10_000])
@pytest.mark.parametrize("shape", [(40, 24), (6, 20, 20, 24), (1, 61, 59, 24), (2, 40, 3, 40, 24)])
def test_long_sums_are_those_of_float64_numpy(shape, mean, groups):
    """Many positions, a number of channels that fills no vector register, fewer samples than threads."""
    random = np.random.default_rng(15)
    x, dy = random.normal(size=(2, *shape)).astype("float32")
    x += np.float32(mean)
    layer = built(x, groups=groups)
    expected = [
        reference(x, *gamma_and_beta(layer), groups, -1, 1e-6),
        *reference_gradients(x, gamma_and_beta(layer)[0], dy, groups, -1, 1e-6),
    ]
    for got, theirs in zip(gradients(layer, x, dy), expected, strict=True):
        typical = np.sqrt(np.square(theirs).mean())
        np.testing.assert_allclose(as_float64(got), theirs, rtol=0, atol=2e-5 * typical)


@on_both_paths
@pytest.mark.parametrize("mean", [0, 100, 10_000])
def test_one_position_far_from_all_others_costs_no_digits(mean):
    """For example a black or padded corner: a variance computed relative to it would lose its digits."""
    x = np.random.default_rng(19).normal(mean, 1.0, size=(2, 100, 100, 8)).astype("float32")
    x[:, 0, 0] = 0 if mean else 1000
    dy = np.random.default_rng(20).normal(size=x.shape).astype("float32")
    layer = built(x, groups=2)
    gamma, beta = gamma_and_beta(layer)
    expected = [reference(x, gamma, beta, 2, -1, 1e-6), *reference_gradients(x, gamma, dy, 2, -1, 1e-6)]
    for got, theirs in zip(gradients(layer, x, dy), expected, strict=True):
        typical = np.sqrt(np.square(theirs).mean())
        np.testing.assert_allclose(as_float64(got), theirs, rtol=1e-5, atol=2e-5 * typical)


@on_both_paths
@pytest.mark.parametrize("shape", [(4, 6), (4, 5, 6), (4, 3, 5, 6)])
def test_samples_of_a_batch_do_not_see_each_other(shape):
    x = np.random.default_rng(5).normal(size=shape).astype("float32")
    layer = built(x, groups=3)
    before = as_float64(layer(x))
    x[0] = 1000.0 * x[0] - 7.0
    np.testing.assert_array_equal(as_float64(layer(x))[1:], before[1:])


@on_both_paths
def test_a_constant_group_gives_beta():
    x = np.full((2, 3, 3, 4), 7.0, "float32")
    layer = built(x, groups=2)
    np.testing.assert_allclose(as_float64(layer(x)), np.broadcast_to(gamma_and_beta(layer)[1], x.shape), atol=1e-6)


def test_epsilon_is_one_millionth_unless_given():
    x = np.array([[-1e-3, 1e-3]], "float32")  # a variance of 1e-6, which epsilon doubles
    np.testing.assert_allclose(as_float64(GroupNormalization(1)(x)), [[-(0.5**0.5), 0.5**0.5]], rtol=1e-5)


@on_both_paths
def test_a_sample_alone_gives_what_it_gives_in_a_batch(kernel):
    """The C++ kernel splits one sample by blocks and a batch by samples: neither may change a bit."""
    x = np.random.default_rng(16).normal(size=(16, 30, 30, 24)).astype("float32")
    layer = built(x, groups=4)
    together = [as_float64(tensor) for tensor in gradients(layer, x, x)[:2]]
    for alone, all_of_them in zip(gradients(layer, x[5:6], x[5:6])[:2], together, strict=True):
        if kernel == "native":
            np.testing.assert_array_equal(as_float64(alone), all_of_them[5:6])
        else:
            np.testing.assert_allclose(as_float64(alone), all_of_them[5:6], rtol=1e-5, atol=1e-5)


@on_both_paths
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_visible(value):
    x = np.random.default_rng(17).normal(size=(2, 4, 4, 8)).astype("float32")
    x[0, 1, 2, 3] = value
    y, dx, *_ = (as_float64(tensor) for tensor in gradients(built(x, groups=2), x, np.ones_like(x)))
    for tensor in (y, dx):
        assert np.isnan(tensor[0, ..., :4]).all()
        assert np.isfinite(tensor[1]).all()
        assert np.isfinite(tensor[0, ..., 4:]).all()


@on_both_paths
@pytest.mark.skipif(BACKEND == "jax", reason="of TensorFlow, where the gradient is our own")
@pytest.mark.parametrize("traced", [False, True])
def test_second_derivatives_are_those_of_keras(traced):
    import tensorflow as tf

    x, weights = np.random.default_rng(18).normal(2.0, 1.0, size=(2, 3, 4, 5, 8)).astype("float32")
    ours, theirs = built(x, groups=4), keras.layers.GroupNormalization(4, epsilon=1e-6)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())

    def penalty_gradients(layer):
        def compute():
            inputs = tf.constant(x)
            with tf.GradientTape() as outer:
                outer.watch(inputs)
                with tf.GradientTape() as inner:
                    inner.watch(inputs)
                    loss = tf.reduce_sum(tf.sin(layer(inputs)) * weights)
                penalty = tf.reduce_sum(tf.square(inner.gradient(loss, inputs)))
            return outer.gradient(penalty, [inputs, *layer.trainable_variables])

        return (tf.function(compute) if traced else compute)()

    for got, expected in zip(penalty_gradients(ours), penalty_gradients(theirs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * abs(expected.numpy()).max())


# Dtypes


@on_both_paths
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize("functional", [False, True])
def test_inputs_beyond_float16_are_normalized_in_float32(policy, functional):
    x = np.random.default_rng(6).normal(100_000.0, 30_000.0, size=(2, 4, 4, 8)).astype("float32")
    layer = GroupNormalization(2, dtype=policy)
    if functional:
        inputs = keras.Input(x.shape[1:], dtype="float32")
        outputs = keras.Model(inputs, layer(inputs))(x)
    else:
        outputs = layer(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
    expected = reference(x, np.ones(8), np.zeros(8), 2, -1, 1e-6)
    np.testing.assert_allclose(as_float64(outputs), expected, atol=2e-2 if layer.compute_dtype == "bfloat16" else 2e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_weights_stay_float32_under_mixed_precision(policy):
    x = np.random.default_rng(7).normal(size=(2, 8)).astype("float32")
    layer = GroupNormalization(2, dtype=policy)
    layer.build(x.shape)
    layer.set_weights([np.full(8, 2**12), np.full(8, 1 - 2**12)])  # beta needs 12 bits, bfloat16 has 8, float16 11
    expected = reference(x, np.full(8, 2.0**12), np.full(8, 1.0 - 2**12), 2, -1, 1e-6)
    rounding = {"float16": 2**-11, "bfloat16": 2**-8}[layer.compute_dtype]
    np.testing.assert_allclose(as_float64(layer(x)), expected, rtol=rounding, atol=2e-3)
    assert [weight.dtype for weight in layer.weights] == ["float32", "float32"]


@needs_float64
@pytest.mark.parametrize(("policy", "dtype"), [("float64", "float64"), ("float64", "float32"), ("float32", "float64")])
def test_statistics_are_float64_where_inputs_or_layer_are(policy, dtype):
    x = np.random.default_rng(8).normal(1e6, 1.0, size=(2, 5, 5, 8)).astype(dtype)
    y = GroupNormalization(2, dtype=policy)(keras.ops.convert_to_tensor(x))
    assert keras.backend.standardize_dtype(y.dtype) == policy
    expected = reference(x, np.ones(8), np.zeros(8), 2, -1, 1e-6)
    np.testing.assert_allclose(as_float64(y), expected, atol=1e-9 if policy == "float64" else 1e-6)


@on_both_paths
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integer_inputs_give_fractions(dtype):
    x = np.random.default_rng(9).integers(0, 256, size=(2, 4, 4, 6)).astype(dtype)
    expected = reference(x, np.ones(6), np.zeros(6), 3, -1, 1e-6)
    np.testing.assert_allclose(as_float64(GroupNormalization(3)(x)), expected, rtol=1e-5, atol=1e-5)


# Shapes


@on_both_paths
@pytest.mark.parametrize(("axis", "shape"), [(-1, (None, None, 8)), (1, (8, None, None))])
def test_one_model_serves_any_batch_and_any_spatial_size(axis, shape):
    inputs = keras.Input(shape)
    outputs = GroupNormalization(4, axis=axis)(inputs)
    assert outputs.shape == (None, *shape)
    model = keras.Model(inputs, outputs)
    for batch, height, width in [(2, 5, 7), (3, 1, 4)]:
        x = np.random.default_rng(10).normal(size=(batch, height, width, 8)).astype("float32")
        x = np.moveaxis(x, -1, axis)
        expected = reference(x, np.ones(8), np.zeros(8), 4, axis, 1e-6)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


@on_both_paths
@pytest.mark.parametrize("shape", [(0, 6), (0, 4, 5, 6), (2, 0, 6), (2, 4, 0, 6)])
def test_empty_inputs_give_an_empty_output_and_zero_gradients(shape):
    empty = np.zeros(shape, "float32")
    y, dx, dgamma, dbeta = gradients(built(empty, groups=3), empty, empty)
    assert y.shape == dx.shape == shape
    np.testing.assert_array_equal(as_float64(dgamma), np.zeros(6))
    np.testing.assert_array_equal(as_float64(dbeta), np.zeros(6))


def test_a_mask_passes_through():
    tokens = np.array([[3, 1, 0, 0], [2, 4, 5, 0]])
    embedding, layer = keras.layers.Embedding(6, 8, mask_zero=True), GroupNormalization(2)
    masked_mean = keras.Sequential([embedding, layer, keras.layers.GlobalAveragePooling1D()])(tokens)
    normalized = as_float64(layer(embedding(tokens)))
    expected = [normalized[0, :2].mean(0), normalized[1, :3].mean(0)]
    np.testing.assert_allclose(as_float64(masked_mean), expected, rtol=1e-4, atol=1e-6)


# Training


def regression(**compile_arguments):
    """Returns a compiled model with only this layer, inputs and targets."""
    random = np.random.default_rng(11)
    x, target = random.normal(size=(2, 16, 4, 4, 8)).astype("float32")
    layer = built(x, groups=4)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(loss="mse", **compile_arguments)
    return model, layer, x, target


@on_both_paths
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_step_follows_the_gradients_of_float64_numpy(jit_compile):
    model, layer, x, target = regression(optimizer=keras.optimizers.SGD(1.0), jit_compile=jit_compile)
    gamma, beta = gamma_and_beta(layer)
    dy = 2 * (reference(x, gamma, beta, 4, -1, 1e-6) - target) / x.size
    _, dgamma, dbeta = reference_gradients(x, gamma, dy, 4, -1, 1e-6)
    model.train_on_batch(x, target)
    for got, expected in zip(gamma_and_beta(layer), (gamma - dgamma, beta - dbeta), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@on_both_paths
def test_fit_decreases_the_loss():
    model, _, x, target = regression(optimizer=keras.optimizers.SGD(1.0))
    losses = model.fit(x, target, epochs=4, batch_size=len(x), verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.7 * losses[0]


# Configuration, saving, exporting

EVERY_ARGUMENT = {
    "groups": -1,
    "axis": 1,
    "epsilon": 1e-4,
    "center": True,
    "scale": True,
    "beta_initializer": keras.initializers.RandomUniform(-1.0, 1.0, seed=1),
    "gamma_initializer": keras.initializers.RandomNormal(3.0, 0.5, seed=2),
    "beta_regularizer": keras.regularizers.L1(0.1),
    "gamma_regularizer": keras.regularizers.L2(0.2),
    "beta_constraint": keras.constraints.NonNeg(),
    "gamma_constraint": keras.constraints.MaxNorm(2.0),
    "name": "norm",
    "dtype": "mixed_bfloat16",
}


def test_a_layer_rebuilt_from_its_config_has_the_same_config_and_losses():
    layer = GroupNormalization(**EVERY_ARGUMENT)
    layer.build((None, 6, 5))
    config = json.loads(json.dumps(layer.get_config()))
    again = GroupNormalization.from_config(config)
    assert again.get_config() == layer.get_config()
    for name in ("groups", "axis", "epsilon", "center", "scale", "name"):
        assert config[name] == EVERY_ARGUMENT[name]
    again.build((None, 6, 5))
    again.set_weights(layer.get_weights())
    gamma, beta = gamma_and_beta(again)
    losses = sorted(float(loss) for loss in again.losses)
    np.testing.assert_allclose(losses, sorted([0.1 * abs(beta).sum(), 0.2 * (gamma**2).sum()]), rtol=1e-5)
    assert isinstance(again.beta.constraint, keras.constraints.NonNeg)
    assert isinstance(again.gamma.constraint, keras.constraints.MaxNorm)
    assert len({*beta, *gamma}) == 12  # neither initializer was lost for a constant


@pytest.mark.parametrize("arguments", [EVERY_ARGUMENT, {"center": False}, {"scale": False}, {"trainable": False}])
def test_the_config_is_understood_by_keras(arguments):
    config = GroupNormalization(**arguments).get_config()
    assert keras.layers.GroupNormalization.from_config(config).get_config() == config


@pytest.mark.parametrize("groups", [{"group": 4}, {"groups": np.int64(4)}, {"group": np.uint8(4)}])
def test_other_spellings_of_groups_are_saved_as_a_plain_groups(groups):
    config = GroupNormalization(**groups).get_config()
    assert json.loads(json.dumps(config))["groups"] == 4
    assert "group" not in config


def test_groups_is_32_unless_given():
    assert GroupNormalization().get_config()["groups"] == 32


def test_weights_files_are_exchanged_with_keras_in_both_directions(tmp_path):
    def model(layer):
        return keras.Sequential([keras.Input((5, 5, 3)), keras.layers.Conv2D(8, 3), layer])

    ours = model(GroupNormalization(4, epsilon=1e-3))
    theirs = model(keras.layers.GroupNormalization(4, epsilon=1e-3))
    x = np.random.default_rng(12).normal(size=(2, 5, 5, 3)).astype("float32")
    for seed, source, target in [(13, ours, theirs), (14, theirs, ours)]:
        scatter(source, seed)
        source.save_weights(tmp_path / f"{seed}.weights.h5")
        target.load_weights(tmp_path / f"{seed}.weights.h5")
        np.testing.assert_allclose(target.predict(x, verbose=0), source.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.any_backend
def test_a_saved_model_loads_in_a_fresh_process_without_custom_objects(tmp_path):
    x = np.random.default_rng(15).normal(size=(2, 6, 5)).astype("float32")
    model = keras.Sequential([keras.Input((6, None)), GroupNormalization(**{**EVERY_ARGUMENT, "dtype": "float32"})])
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    script = """
import json, pathlib, sys
import keras, numpy as np
import gnexp.group_normalization
here = pathlib.Path(sys.argv[1])
model = keras.saving.load_model(here / "model.keras")
np.save(here / "y.npy", model.predict(np.load(here / "x.npy"), verbose=0))
print(json.dumps(model.get_layer("norm").get_config()))
"""
    config = json.loads(run_python(script, tmp_path))
    assert config == json.loads(json.dumps(model.get_layer("norm").get_config()))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_an_exported_model_serves_any_batch_and_any_spatial_size(tmp_path):
    tf = pytest.importorskip("tensorflow", reason="a SavedModel is loaded by TensorFlow")
    model = keras.Sequential([keras.Input((None, None, 8)), GroupNormalization(4)])
    scatter(model)
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    for shape in [(2, 5, 7, 8), (1, 3, 3, 8)]:
        x = np.random.default_rng(16).normal(size=shape).astype("float32")
        np.testing.assert_allclose(served.serve(x).numpy(), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.any_backend
def test_the_module_imports_keras_and_the_standard_library_only():
    script = """
import os, sys
os.environ["KERAS_BACKEND"] = "numpy"  # the quickest
import keras
before = set(sys.modules)
import gnexp.group_normalization
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    added = set(run_python(script).split())
    assert "gnexp" in added
    assert added - {"gnexp"} <= sys.stdlib_module_names


# Bad inputs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"groups": groups}, f"groups={groups!r}") for groups in (0, -2, True, 2.0, "8", [4], np.True_)),
        *(({"group": groups}, f"groups={groups!r}") for groups in (0, False, 2.5)),
        *(({"axis": axis}, f"axis={axis!r}") for axis in (0, 1.0, True, None, "-1", [1, 2])),
        *(({"epsilon": epsilon}, "epsilon=") for epsilon in (0, 0.0, -1e-3, np.nan, np.inf, None, "1e-3", True)),
        ({"groups": 8, "group": 4}, "groups=8, group=4"),
        ({"groups": 32, "group": 8}, "groups=32, group=8"),
        ({"groups": 8, "group": 8}, "groups=8, group=8"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_its_value(arguments, message):
    with pytest.raises(ValueError) as error:
        GroupNormalization(**arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "shape", "messages"),
    [
        ({"groups": 5}, (None, 4, 12), ["12 channels", "5 groups", "-1 and [1, 2, 3, 4, 6, 12]"]),
        ({"groups": 24}, (None, 12), ["12 channels", "24 groups", "-1 and [1, 2, 3, 4, 6, 12]"]),
        ({}, (None, 4, 4, 48), ["48 channels", "32 groups", "-1 and [1, 2, 3, 4, 6, 8, 12, 16, 24, 48]"]),
        ({"groups": 2}, (None, 4, None), ["known", "None", "axis=-1"]),
        ({"groups": -1, "axis": 1}, (None, None, 4), ["known", "None", "axis=1"]),
        ({"groups": -1}, (None, 0), ["not 0", "(None, 0)"]),
        ({"groups": 1}, (8,), ["rank 2", "(8,)"]),
        ({"groups": 1}, (), ["rank 2", "()"]),
        ({"groups": 1, "axis": 3}, (2, 4, 4), ["1..2", "-2..-1", "axis=3"]),
        ({"groups": 1, "axis": -3}, (2, 4, 4), ["1..2", "-2..-1", "axis=-3"]),
        ({"groups": 1, "axis": -4}, (2, 4, 4), ["1..2", "-2..-1", "axis=-4"]),
    ],
)
def test_inputs_that_cannot_be_split_are_refused_by_their_shape(arguments, shape, messages):
    for refuse in (GroupNormalization(**arguments).build, GroupNormalization(**arguments).compute_output_shape):
        with pytest.raises(ValueError) as error:
            refuse(shape)
        assert all(message in str(error.value) for message in messages), error.value


def test_a_built_layer_refuses_another_number_of_channels():
    layer = built(np.zeros((2, 4, 8)), groups=4)
    with pytest.raises(ValueError, match="expected axis 2 of input shape to have value 8"):
        layer(np.zeros((2, 4, 12), "float32"))
