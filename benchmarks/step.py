"""One training step of configs/fmnist.py's network at batch sizes 1 and 128, against plain Keras and PyTorch.

Run:      python -m benchmarks.step
          KERAS_BACKEND=jax python -m benchmarks.step      # on a GPU where JAX has one
Time:     6 minutes on 2 CPU cores.

Plain Keras is `fit` with keras.layers.GroupNormalization, keras.optimizers.Adam and the metric accuracy, all with their
defaults; the second line lets Keras do many steps per call. PyTorch is eager, in each of two memory layouts, with its
native group norm and fused Adam, on data in memory. Images are random, because what they show does not change the
speed; every step counts its loss and hits.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import measure
from configs import fmnist

_OUT = flags.DEFINE_string("out", "build/benchmarks/step.json", "Where the figures go.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How many turns each contestant has.", lower_bound=1)

_SECONDS = {1: 2.0, 128: 4.0}  # of a turn, so that the fixed cost of an epoch of `fit` is a small part of it
_MOST = {1: 4096, 128: 64}  # steps before the same images come again
_KERAS = "Keras fit"

Run = Callable[[int], Any]


def _config(batch: int):
    config = fmnist.get_config()
    config.optimizer.name, config.data.batch_size = "adam", batch
    return config


@functools.lru_cache(maxsize=2)
def _data(steps: int, batch: int):
    import numpy as np

    random = np.random.default_rng(0)
    return random.integers(0, 256, (steps * batch, 28, 28, 1), np.uint8), random.integers(
        0, 10, steps * batch, np.int32
    )


def _keras(batch: int, steps_per_execution: int = 1) -> Run:
    import keras

    from gnexp import group_normalization
    from gnexp.models.build import build

    config = _config(batch)
    model = build(config.model, (28, 28, 1), 10)
    # The same network with Keras's own layer.
    model = keras.models.clone_model(
        model,
        clone_function=lambda layer: (
            keras.layers.GroupNormalization(layer.groups, epsilon=layer.epsilon, name=layer.name)
            if isinstance(layer, group_normalization.GroupNormalization)
            else layer.__class__.from_config(layer.get_config())
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


def _gnexp(batch: int, kernel: bool) -> Run:
    from gnexp.data.splits import Split
    from gnexp.models.build import build
    from gnexp.norms import native
    from gnexp.tasks.classification import Classification
    from gnexp.training import backend, optimizers

    config, most = _config(batch), _MOST[batch]
    model = build(config.model, (28, 28, 1), 10)
    if kernel:
        native.use(model)
    model.compile(optimizers.build(config.optimizer, config.schedule, most, config.epochs))
    model.optimizer.build(model.trainable_variables)
    train, order = (
        backend.train_steps(model, Classification(range(10)), Split(*_data(most, batch)), jit_compile=False),
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
    nn = torch.nn
    torch.set_flush_denormal(True)  # as TensorFlow's threads do
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = _config(batch).model
    width = config.args.filters[-1] * 12 * 12
    model = nn.Sequential(
        nn.Conv2d(1, config.args.filters[0], 3),
        nn.GroupNorm(config.groups, config.args.filters[0], eps=config.epsilon),
        nn.ReLU(inplace=True),
        nn.Conv2d(config.args.filters[0], config.args.filters[1], 3),
        nn.GroupNorm(config.groups, config.args.filters[1], eps=config.epsilon),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(config.args.conv_dropout),
        nn.Flatten(),
        nn.Linear(width, config.args.units),
        nn.ReLU(inplace=True),
        nn.Dropout(config.args.dense_dropout),
        nn.Linear(config.args.units, 10),
    )
    memory = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=memory)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    kernels = [model[0].weight, model[3].weight]
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
            loss = nn.functional.cross_entropy(logits, batch_labels) + config.args.l2 * sum(
                kernel.square().sum() for kernel in kernels
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            hits += (logits.detach().argmax(1) == batch_labels).sum()
        return float(total), int(hits)

    return run


def _contestants(batch: int) -> dict[str, Callable[[], Run]]:
    import keras

    theirs = {
        _KERAS: lambda: _keras(batch),
        f"{_KERAS}, steps_per_execution=16": lambda: _keras(batch, 16),
    }
    ours = {"gnexp": lambda: _gnexp(batch, True)}
    if keras.backend.backend() == "jax":
        return {**theirs, **ours}
    return {
        **theirs,
        **ours,
        "gnexp, native=False": lambda: _gnexp(batch, False),
        "PyTorch": lambda: _pytorch(batch, False),
        "PyTorch, channels last": lambda: _pytorch(batch, True),
    }


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from gnexp.training import backend

    figures = {}
    for batch, seconds in _SECONDS.items():
        turns = measure.turns_of(_contestants(batch), seconds)
        figures[f"batch size {batch}"] = measure.compare(measure.take_turns(turns, _ROUNDS.value), _KERAS)
    print(f"Keras's time / its time (its time in ms) for one training step, {', '.join(backend.devices())}")
    names = next(iter(figures.values()))
    measure.show(
        [[name, *(measure.in_words(each[name]) for each in figures.values())] for name in names], ["", *figures]
    )
    measure.write(_OUT.value, {"devices": backend.devices(), "batch sizes": figures})


if __name__ == "__main__":
    app.run(main)
