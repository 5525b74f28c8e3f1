"""A network's cost is that of the network once it is built, and measuring it allocates nothing and leaves nothing."""

import keras
import numpy as np
import pytest

from configs import fmnist
from gnexp.models import cost
from gnexp.models.build import build
from gnexp.training import optimizers

_SHAPE = (28, 28, 1)


def _with_own_layers():
    """A network as users write them: a shared layer, a network inside, attention, batch norm, two inputs."""
    shared = keras.layers.Dense(8)
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5), keras.layers.BatchNormalization()])
    a, b = keras.Input((6, 4)), keras.Input((6, 4))
    x = keras.layers.MultiHeadAttention(2, 3)(a, b)
    x = keras.layers.Concatenate()([shared(x), shared(b)])
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dropout(0.5)(x))
    return keras.Model([a, b], inner(keras.layers.Dense(8)(x)))


def _bytes(variables):
    return sum(np.asarray(variable.value).nbytes for variable in variables)


@pytest.mark.any_backend
@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_it_counts_what_the_built_network_has(norm):
    config = fmnist.get_config()
    config.model.norm = norm
    found = cost.measure(lambda: build(config.model, _SHAPE, 10))
    model = build(config.model, _SHAPE, 10)
    assert found.parameters == model.count_params()
    assert found.weights == _bytes(model.weights)
    assert found.trainable == _bytes(model.trainable_weights)
    assert found.largest == ("dense", model.get_layer("dense").count_params())
    kept = [layer for layer in model.layers if layer.weights]
    outputs = keras.Model(model.input, [layer.output for layer in kept])(np.zeros((3, *_SHAPE), "uint8"))
    assert 3 * found.activations == sum(np.asarray(output).nbytes for output in outputs)


@pytest.mark.any_backend
def test_it_counts_users_own_networks():
    found, model = cost.measure(_with_own_layers), _with_own_layers()
    assert (found.parameters, found.weights) == (model.count_params(), _bytes(model.weights))
    # attention (6, 4), the shared layer twice (6, 8), the dense layer (8), and inside: dense (5), norm (5)
    assert found.activations >= 4 * (6 * 4 + 2 * 6 * 8 + 8 + 5 + 5)


def test_half_precision_halves_the_activations():
    model = fmnist.get_config().model
    whole, half = (
        cost.measure(lambda dtype=dtype: build(model, _SHAPE, 10, dtype)) for dtype in ("float32", "mixed_bfloat16")
    )
    logits = 40
    assert half.activations == (whole.activations - logits) / 2 + logits
    assert half.weights == whole.weights


def test_a_network_of_petabytes_is_measured_and_forgotten():
    config = fmnist.get_config()
    before = build(config.model, _SHAPE, 10)
    config.model.args.units = 10**9
    found = cost.measure(lambda: build(config.model, _SHAPE, 10))
    assert found.parameters > 10**12
    # Keras would allocate variables without values at the end of the next such scope.
    with keras.StatelessScope():
        pass
    config.model.args.units = 8
    after = build(config.model, _SHAPE, 10)

    def number(model):
        return int(next(layer.name for layer in model.layers if "flatten" in layer.name).partition("_")[2] or 0)

    assert number(after) == number(before) + 1


@pytest.mark.parametrize(
    ("name", "momentum", "expected"),
    [
        ("adam", 0, 2),
        ("amsgrad", 0, 3),
        ("adamw", 0, 2),
        ("sgd", 0, 0),
        ("sgd", 0.9, 1),
        ("rmsprop", 0, 1),
        ("lion", 0, 1),
    ],
)
def test_slots_of_an_optimizer(name, momentum, expected):
    config = fmnist.get_config()
    config.optimizer.name, config.optimizer.momentum = name, float(momentum)
    assert cost.slots(optimizers.build(config.optimizer, config.schedule, 1, 1, jit_compile=True)) == expected
    assert cost.Cost(1, 100, 80, 7, ("a", 1)).training(3, expected) == 200 + 80 * (1 + expected) + 21
