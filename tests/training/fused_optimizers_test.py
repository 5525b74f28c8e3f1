"""The kernels must do what Keras's own optimizers do, and leave everything else to them."""

import functools

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("the kernels are TensorFlow's", allow_module_level=True)

import tensorflow as tf

from gnexp.training import fused_optimizers, optimizers

pytestmark = pytest.mark.any_backend

CASES = {
    "adam": ("Adam", {}, "ResourceApplyAdam"),
    "amsgrad": ("Adam", {"amsgrad": True}, "ResourceApplyAdamWithAmsgrad"),
    "adamw": ("AdamW", {"weight_decay": 0.3}, "ResourceApplyAdam"),
    "sgd": ("SGD", {}, "ResourceApplyGradientDescent"),
    "momentum": ("SGD", {"momentum": 0.9}, "ResourceApplyKerasMomentum"),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, "ResourceApplyKerasMomentum"),
    "rmsprop": ("RMSprop", {}, "ResourceApplyRMSProp"),
    "rmsprop with momentum": ("RMSprop", {"momentum": 0.9}, "ResourceApplyRMSProp"),
    "rmsprop, centered": ("RMSprop", {"centered": True}, None),
}
SHAPES = [(7, 3), (11,), ()]


def _pair(case: str, rate=0.01) -> list[keras.optimizers.Optimizer]:
    name, arguments, _ = CASES[case]
    pair = []
    for module in (fused_optimizers, keras.optimizers):
        keras.backend.clear_session()  # counts names from the beginning again
        pair.append(getattr(module, name)(rate, **arguments))
    return pair


def _variables(dtype: str = "float32") -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=shape), dtype=dtype, name=f"w{len(shape)}") for shape in SHAPES]


def _gradients(steps: int) -> list[np.ndarray]:
    """Returns gradients for each step that reveal every constant: of all sizes down to epsilon's, and shrinking."""
    random = np.random.default_rng(1)
    waning = np.geomspace(1, 1e-3, steps)
    sizes = [10.0 ** random.uniform(-8, 1, shape) for shape in SHAPES]
    return [
        (size * waning.reshape(-1, *[1] * size.ndim) * random.normal(0.3, 1, (steps, *size.shape))).astype("float32")
        for size in sizes
    ]


def _descend(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable], gradients: list[np.ndarray]):
    """Applies gradients, step by step, in one graph."""
    optimizer.build(variables)
    gradients = [tf.constant(gradient, variable.dtype) for gradient, variable in zip(gradients, variables, strict=True)]

    @tf.function(autograph=False)
    def run():
        def step(index):
            optimizer.apply([gradient[index] for gradient in gradients])
            return (index + 1,)

        tf.while_loop(lambda index: index < len(gradients[0]), step, (0,), parallel_iterations=1)

    run()


def _kernels(optimizer: keras.optimizers.Optimizer) -> set[str]:
    """Returns the types of the single-pass kernels in the graph of an update."""
    optimizer.build([keras.Variable(np.ones(3), dtype="float32")])
    graph = tf.function(optimizer.apply, autograph=False).get_concrete_function([tf.ones(3)]).graph
    return {operation.type for operation in graph.get_operations() if operation.type.startswith("ResourceApply")}


def _assert_same(ours: list[keras.Variable], theirs: list[keras.Variable], **tolerances: float):
    for a, b in zip(ours, theirs, strict=True):
        assert a.path == b.path
        np.testing.assert_allclose(a.numpy(), b.numpy(), **tolerances, err_msg=a.path)


@pytest.mark.parametrize("case", CASES)
def test_a_thousand_updates_are_keras_own(case):
    ours, theirs = _pair(case, keras.optimizers.schedules.CosineDecay(0.01, 1500))
    a, b, gradients = _variables(), _variables(), _gradients(1000)
    _descend(ours, a, gradients)
    _descend(theirs, b, gradients)
    # Of order 1. In float32 the kernel's 1 - 0.999 is off by 1.3e-5 of its value, its root in the step by half of that.
    _assert_same(a, b, rtol=0, atol=1e-5)
    _assert_same(ours.variables, theirs.variables, rtol=2e-5, atol=1e-30)


@pytest.mark.parametrize("case", CASES)
def test_each_is_one_kernel_where_there_is_one(case):
    kernel = CASES[case][2]
    assert _kernels(_pair(case)[0]) == ({kernel} if kernel else set())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("saved", ["by Keras", "by ours"])
def test_a_state_resumes_in_the_other(case, saved):
    ours, theirs = _pair(case)
    first, second = (theirs, ours) if saved == "by Keras" else (ours, theirs)
    variables, gradients = _variables(), _gradients(8)
    first.build(variables)
    for step in range(4):
        first.apply([tf.constant(gradient[step]) for gradient in gradients])
    state: dict[str, np.ndarray] = {}
    first.save_own_variables(state)

    copies = [keras.Variable(variable, name=variable.name) for variable in variables]
    second.build(copies)
    second.load_own_variables(state)
    assert second.get_config() == first.get_config()
    _assert_same(second.variables, first.variables, rtol=0)
    for step in range(4, 8):
        first.apply([tf.constant(gradient[step]) for gradient in gradients])
        second.apply([tf.constant(gradient[step]) for gradient in gradients])
    _assert_same(copies, variables, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["sparse", "float16", "bfloat16", "float64"])
def test_what_has_no_kernel_is_updated_keras_way(case, kind):
    dtype = "float32" if kind == "sparse" else kind
    results = []
    for optimizer in _pair(case):
        variable = keras.Variable(np.linspace(-1, 1, 6).reshape(3, 2), dtype=dtype)
        optimizer.build([variable])
        gradient = tf.constant([[0.5, -2.0], [3.0, 0.25]], dtype)
        gradient = (
            tf.IndexedSlices(gradient, [2, 0], (3, 2)) if kind == "sparse" else tf.concat([gradient, gradient[:1]], 0)
        )
        for _ in range(3):
            optimizer.apply([gradient])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)
    assert not np.allclose(results[0][0].astype(float), [-1, -0.6], atol=1e-3)


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw", "sgd", "rmsprop"])
def test_a_config_gets_a_kernel_unless_xla_compiles_the_steps(config, name):
    config.optimizer.name = name
    kernels, results = [], []
    for jit_compile in (False, True):
        make = functools.partial(
            optimizers.build, config.optimizer, config.schedule, steps_per_epoch=10, epochs=1, jit_compile=jit_compile
        )
        kernels.append(_kernels(make()))
        optimizer, variable = make(), keras.Variable(np.ones(3), dtype="float32")
        optimizer.build([variable])
        tf.function(optimizer.apply, autograph=False, jit_compile=jit_compile)([tf.constant([0.1, -1.0, 10.0])])
        results.append(variable.numpy())
    assert [len(names) for names in kernels] == [1, 0]
    np.testing.assert_allclose(*results, rtol=1e-5)
