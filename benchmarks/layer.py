"""The layer by itself, forward and backward, against Keras's, Flax's and PyTorch's.

Run:      python -m benchmarks.layer                       # TensorFlow, by keras.ops and by the C++ kernel
          KERAS_BACKEND=jax python -m benchmarks.layer     # JAX, on a GPU where it has one
Time:     3 minutes on 2 CPU cores.

Each step feeds its outputs to the next, (x, dy) <- (y, dx), inside one compiled loop if the peer has such a thing. So
no work can be optimized away, and the cost of a call from Python is not measured. float32, channels last.
"""

import math
import os
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import measure

_OUT = flags.DEFINE_string("out", "build/benchmarks/layer.json", "Where the figures go.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "How many turns each contestant has.", lower_bound=1)

SHAPES = {
    (128, 24, 24, 64): 8,
    (128, 26, 26, 32): 8,
    (1, 24, 24, 64): 8,
    (32, 56, 56, 256): 32,
    (8, 14, 14, 1024): 32,
}
_SECONDS = 0.4  # of a turn
_EPSILON = 1e-6
_KERAS = "Keras"

Run = Callable[[int], Any]


def _tensorflow(layer, x, dy) -> Run:
    import tensorflow as tf

    layer.build(x.shape)
    x, dy = tf.constant(x), tf.constant(dy)

    def step(index, x, dy, sums):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        dx, *gradients = tape.gradient(y, [x, *layer.trainable_variables], output_gradients=dy)
        return index + 1, y, dx, [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

    @tf.function
    def run(steps):
        sums = [tf.zeros_like(weight) for weight in layer.trainable_variables]
        loop = tf.while_loop(
            lambda index, *_: index < steps, step, (0, x, dy, sums), parallel_iterations=1, maximum_iterations=steps
        )
        return [tf.reduce_sum(tensor) for tensor in (*loop[1:3], *loop[3])]

    return lambda steps: [float(total) for total in run(tf.constant(steps))]


def _jax(apply, weights, x, dy) -> Run:
    import jax

    @jax.jit
    def run(steps, weights, x, dy):
        def step(_, state):
            x, dy, sums = state
            y, pull_back = jax.vjp(apply, weights, x)
            gradients, dx = pull_back(dy)
            return y, dx, jax.tree.map(jax.numpy.add, sums, gradients)

        return jax.lax.fori_loop(0, steps, step, (x, dy, jax.tree.map(jax.numpy.zeros_like, weights)))

    x, dy = jax.device_put((x, dy))
    return lambda steps: jax.block_until_ready(run(steps, weights, x, dy))


def _flax(groups: int, x, dy) -> Run:
    import jax

    layer = measure.peer("flax.linen").GroupNorm(groups, epsilon=_EPSILON)
    return _jax(layer.apply, layer.init(jax.random.key(0), x), x, dy)


def _keras_on_jax(layer, x, dy) -> Run:
    layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_variables]
    return _jax(lambda weights, x: layer.stateless_call(weights, [], x)[0], weights, x, dy)


def _copy_on_jax(x) -> Run:
    """One pass: every element is read and written."""
    import jax

    run = jax.jit(lambda steps, x: jax.lax.fori_loop(0, steps, lambda _, x: -x, x))
    x = jax.device_put(x)
    return lambda steps: jax.block_until_ready(run(steps, x))


def _pytorch(groups: int, x, dy, channels_last: bool) -> Run:
    torch = measure.peer("torch")
    torch.set_flush_denormal(True)  # as TensorFlow's threads do
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    memory = torch.channels_last if channels_last else torch.contiguous_format
    first_x, first_dy = (torch.tensor(array).permute(0, 3, 1, 2).contiguous(memory_format=memory) for array in (x, dy))
    weights = [torch.ones(x.shape[-1], requires_grad=True), torch.zeros(x.shape[-1], requires_grad=True)]

    def run(steps):
        x, dy = first_x, first_dy
        for _ in range(steps):
            x = x.detach().requires_grad_()
            y = torch.nn.functional.group_norm(x, groups, *weights, eps=_EPSILON)
            dy, *_ = torch.autograd.grad(y, [x, *weights], dy)
            x = y

    return run


def _contestants(shape: tuple[int, ...], groups: int) -> dict[str, Callable[[], Run]]:
    import keras
    import numpy as np

    from gnexp.group_normalization import GroupNormalization
    from gnexp.norms import native

    x, dy = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    theirs = keras.layers.GroupNormalization(groups, epsilon=_EPSILON)
    ours = GroupNormalization(groups, epsilon=_EPSILON)
    if keras.backend.backend() == "jax":
        return {
            _KERAS: lambda: _keras_on_jax(theirs, x, dy),
            "gnexp": lambda: _keras_on_jax(ours, x, dy),
            "Flax": lambda: _flax(groups, x, dy),
            "(one pass)": lambda: _copy_on_jax(x),
        }
    runs = {_KERAS: lambda: _tensorflow(theirs, x, dy), "gnexp, plain": lambda: _tensorflow(ours, x, dy)}
    if kernel := native.load():
        with_kernel = GroupNormalization(groups, epsilon=_EPSILON)
        with_kernel.kernel = kernel
        runs["gnexp, C++"] = lambda: _tensorflow(with_kernel, x, dy)
    return {
        **runs,
        "Flax": lambda: _flax(groups, x, dy),
        "PyTorch": lambda: _pytorch(groups, x, dy, channels_last=False),
        "PyTorch, channels last": lambda: _pytorch(groups, x, dy, channels_last=True),
    }


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from gnexp.training import backend

    figures = {}
    for shape, groups in SHAPES.items():
        turns = measure.turns_of(_contestants(shape, groups), _SECONDS)
        figures[f"{'x'.join(map(str, shape))}, {groups}"] = measure.compare(
            measure.take_turns(turns, _ROUNDS.value), _KERAS
        )
    names = list(next(iter(figures.values())))
    means = {
        name: math.exp(sum(math.log(each[name]["ratio"]) for each in figures.values()) / len(figures)) for name in names
    }
    print(f"Keras's time / its time (its time in ms), forward and backward, {', '.join(backend.devices())}")
    rows = [
        [name, *(measure.in_words(each[name]) for each in figures.values()), f"{means[name]:.2f}"] for name in names
    ]
    measure.show(rows, ["", *figures, "geometric mean"])
    measure.write(_OUT.value, {"devices": backend.devices(), "shapes": figures, "geometric means": means})


if __name__ == "__main__":
    app.run(main)
