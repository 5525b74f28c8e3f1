"""What a network takes of memory, found without allocating it."""

import contextlib
import copy
import dataclasses
import math
import re
from collections.abc import Callable, Iterator

import keras
from keras.src.backend.common import global_state

# What a network leaves in Keras when it is built: its variables, which the next `StatelessScope` would allocate; the
# numbers in its layers' names; and the generator of seeds, which is one of these variables.
_TRACES = ("uninitialized_variables", "object_name_uids", "global_seed_generator")


@dataclasses.dataclass(frozen=True)
class Cost:
    """A network's size.

    Attributes:
      parameters: how many numbers it holds.
      weights, trainable: the bytes of all of them, and of those that are trained.
      activations: the bytes that one example's step keeps for the gradients, at least: the outputs of the layers that
        have weights. Other layers may work in place.
      largest: the name of the layer with the most parameters, and how many they are.
    """

    parameters: int
    weights: int
    trainable: int
    activations: int
    largest: tuple[str, int]

    def training(self, batch: int, slots: int) -> int:
        """Returns how many bytes a training takes at least.

        The weights count twice, because those of the best epoch are kept.

        Args:
          batch: examples in a step.
          slots: how many numbers the optimizer keeps for each that is trained.
        """
        return 2 * self.weights + (1 + slots) * self.trainable + batch * self.activations


def measure(build: Callable[[], keras.Model]) -> Cost:
    """Returns the cost of the network that `build` returns, whose variables get shapes but no values.

    The random numbers that `build` draws from Python's generator are drawn: seed after this.
    """
    with _without_a_trace(), keras.StatelessScope(initialize_variables=False):
        model = build()
        layers = [layer for layer in model._flatten_layers(include_self=False) if layer.weights]
        layers = [layer for layer in layers if not isinstance(layer, keras.Model)]
        outputs = [tensor for layer in layers for node in layer._inbound_nodes for tensor in node.output_tensors]
        sizes = {layer.name: sum(map(_count, layer.weights)) for layer in layers}
        return Cost(
            parameters=sum(map(_count, model.weights)),
            weights=sum(map(_bytes, model.weights)),
            trainable=sum(map(_bytes, model.trainable_weights)),
            activations=sum(math.prod(size or 1 for size in x.shape[1:]) * _itemsize(x.dtype) for x in outputs),
            largest=max(sizes.items(), key=lambda named: named[1], default=(model.name, 0)),
        )


def slots(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns how many numbers an optimizer, which is not built yet, keeps for each that it trains."""
    probe = keras.Variable([[0.0, 0.0]])
    optimizer.build([probe])
    return sum(variable.shape == probe.shape for variable in optimizer.variables)


@contextlib.contextmanager
def _without_a_trace() -> Iterator[None]:
    kept = {name: copy.copy(global_state.get_global_attribute(name)) for name in _TRACES}
    try:
        yield
    finally:
        for name, value in kept.items():
            global_state.set_global_attribute(name, value)


def _count(variable: keras.Variable) -> int:
    return math.prod(variable.shape)


def _bytes(variable: keras.Variable) -> int:
    return _count(variable) * _itemsize(variable.dtype)


def _itemsize(dtype: str) -> int:
    bits = re.search(r"\d+", dtype)  # NumPy knows no bfloat16.
    return int(bits[0]) // 8 if bits else 1
