"""One training step at batch sizes 1 and 128, against plain Keras and PyTorch.

Run:      python -m benchmarks.step
          python -m benchmarks.step --network=resnet       # or unet, on images of 32x32x3
          KERAS_BACKEND=jax python -m benchmarks.step      # on a GPU where JAX has one
Time:     9 minutes on 2 CPU cores.

The network is that of configs/fmnist.py, or another of gnexp's with its own defaults and 8 groups. Plain Keras is
`fit` with keras.layers.GroupNormalization, keras.optimizers.Adam and the metric accuracy, all with their defaults; the
second line lets Keras do many steps per call. PyTorch is eager, in each of two memory layouts, with its native group
norm and fused Adam, on data in memory. Images are random, because what they show does not change the speed; every step
counts its loss and hits. Each contestant has a process of its own, with the threads that it has by default.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import measure, torch_networks
from configs import fmnist
from gnexp.config.defaults import fill_in

_OUT = flags.DEFINE_string("out", "build/benchmarks/step.json", "Where the figures go.")
_NETWORK = flags.DEFINE_enum("network", "cnn", ["cnn", "resnet", "unet"], "Which network.")
_BATCHES = flags.DEFINE_list("batches", ["1", "128"], "Which batch sizes.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How many turns each contestant has.", lower_bound=1)

_SECONDS = {1: 2.0, 128: 4.0}  # of a turn, so that the fixed cost of an epoch of `fit` is a small part of it
_MOST = {1: 4096, 128: 64}  # steps before the same images come again
_SHAPES = {"cnn": (28, 28, 1), "resnet": (32, 32, 3), "unet": (32, 32, 3)}
_KERAS = "Keras fit"

Run = Callable[[int], Any]


def _config(batch: int):
    config = fmnist.get_config()
    config.model.name = _NETWORK.value
    fill_in(config)
    config.optimizer.name, config.data.batch_size = "adam", batch
    return config


@functools.lru_cache(maxsize=2)
def _data(steps: int, batch: int):
    import numpy as np

    random = np.random.default_rng(0)
    shape = (steps * batch, *_SHAPES[_NETWORK.value])
    return random.integers(0, 256, shape, np.uint8), random.integers(0, 10, steps * batch, np.int32)


def _keras(batch: int, steps_per_execution: int = 1) -> Run:
    import keras

    from gnexp import group_normalization
    from gnexp.models.build import build
    from gnexp.norms.rebuild import rebuild

    config = _config(batch)
    model = build(config.model, _SHAPES[_NETWORK.value], 10)
    # The same network with Keras's own layer.
    model = rebuild(
        model,
        lambda layer: (
            keras.layers.GroupNormalization(layer.groups, epsilon=layer.epsilon, name=layer.name)
            if isinstance(layer, group_normalization.GroupNormalization)
            else None
        ),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    data = _data(_MOST[batch], batch)

    def run(steps):
        for start in range(0, steps, _MOST[batch]):
            images, labels = (array[: (steps - start) * batch] for array in data)
            model.fit(images, labels, batch_size=batch, verbose=0)

    return run


def _gnexp(batch: int, kernel: bool, precision: str = "float32") -> Run:
    from gnexp.data.splits import Split, Splits
    from gnexp.models.build import build
    from gnexp.norms import native
    from gnexp.tasks.classification import Classification
    from gnexp.training import backend, optimizers, steps

    config, most = _config(batch), _MOST[batch]
    backend.choose_threads(config, _SHAPES[_NETWORK.value])
    model = build(config.model, _SHAPES[_NETWORK.value], 10, precision)
    if kernel:
        native.use(model)
    model.compile(optimizers.build(config.optimizer, config.schedule, most, config.epochs))
    model.optimizer.build(model.trainable_variables)
    train, order = (
        steps.train_steps(
            model,
            Classification(Splits(None, None, None, tuple("0123456789"))),
            Split(*_data(most, batch)),
            jit_compile=False,
        ),
        _order(most, batch),
    )

    def run(steps):
        for start in range(0, steps, most):
            train(order, 0, min(most, steps - start))

    return run


def _order(steps: int, batch: int):
    import numpy as np

    return np.random.default_rng(1).permutation(steps * batch).astype(np.int32).reshape(steps, batch)


def _pytorch(batch: int, channels_last: bool) -> Run:
    torch = measure.peer("torch")
    torch.set_flush_denormal(True)  # as TensorFlow's threads do
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config, shape = _config(batch).model, _SHAPES[_NETWORK.value]
    model = torch_networks.build(config, shape[-1], 10)
    model(torch.zeros(1, shape[-1], *shape[:-1]))  # makes what is made when it is called first
    l2 = config.args.get("l2", 0.0)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)] if l2 else []
    memory = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=memory)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    most = _MOST[batch]
    images, labels = (torch.tensor(array) for array in _data(most, batch))
    images = images.permute(0, 3, 1, 2)
    labels = labels.long()
    order = torch.tensor(_order(most, batch)).long()

    def run(steps):
        total, hits = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for step in range(steps):
            chosen = order[step % most]
            batch_images = images[chosen].to(torch.float32).div_(255).contiguous(memory_format=memory)
            batch_labels = labels[chosen]
            logits = model(batch_images)
            loss = torch.nn.functional.cross_entropy(logits, batch_labels)
            loss = loss + l2 * sum(kernel.square().sum() for kernel in kernels) if kernels else loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            hits += (logits.detach().argmax(1) == batch_labels).sum()
        return float(total), int(hits)

    return run


def _contestants(batch: int) -> dict[str, Callable[[], Run]]:
    import keras

    found = {
        _KERAS: functools.partial(_keras, batch),
        f"{_KERAS}, steps_per_execution=16": functools.partial(_keras, batch, 16),
        "gnexp": functools.partial(_gnexp, batch, True),
    }
    if keras.backend.backend() != "jax":
        found |= {
            "gnexp, native=False": functools.partial(_gnexp, batch, False),
            "gnexp, mixed_bfloat16": functools.partial(_gnexp, batch, True, "mixed_bfloat16"),
            "PyTorch": functools.partial(_pytorch, batch, False),
            "PyTorch, channels last": functools.partial(_pytorch, batch, True),
        }
    return {name: measure.elsewhere(make) for name, make in found.items()}


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from gnexp.training import backend

    figures = {}
    for batch in map(int, _BATCHES.value):
        turns = measure.turns_of(_contestants(batch), _SECONDS[batch])
        figures[f"batch size {batch}"] = measure.compare(measure.take_turns(turns, _ROUNDS.value), _KERAS)
    print(f"Keras's time / its time (its time in ms) for one step of {_NETWORK.value}, {', '.join(backend.devices())}")
    names = next(iter(figures.values()))
    measure.show(
        [[name, *(measure.in_words(each[name]) for each in figures.values())] for name in names], ["", *figures]
    )
    measure.write(_OUT.value, {"network": _NETWORK.value, "devices": backend.devices(), "batch sizes": figures})


if __name__ == "__main__":
    app.run(main)
