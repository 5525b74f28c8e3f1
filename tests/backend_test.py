"""Many steps in one graph must be the steps of Keras's own fit."""

import keras
import numpy as np
import pytest

from gnexp import backend, models, optimizers
from gnexp.data import SHAPE
from gnexp.errors import UserError


def _compiled(config, seed: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = models.build(config.model, SHAPE, 10, config.precision)
    model.compile(
        optimizers.build(config.optimizer, config.schedule, 5, 1, config.precision),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    model.compute_metrics(None, np.zeros(1, np.int32), np.zeros((1, 10), np.float32))
    model.reset_metrics()
    return model


@pytest.fixture(scope="module")
def images_and_labels():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (40, *SHAPE), np.uint8), random.integers(0, 10, 40).astype(np.int32)


@pytest.mark.parametrize(
    ("optimizer", "precision"), [("amsgrad", "float32"), ("sgd", "float32"), ("adam", "mixed_float16")]
)
def test_steps_are_those_of_keras_fit(small, images_and_labels, optimizer, precision):
    small.optimizer.name, small.precision = optimizer, precision
    images, labels = images_and_labels
    ours, theirs = _compiled(small), _compiled(small)
    order = np.random.default_rng(1).permutation(40).astype(np.int32).reshape(5, 8)
    train = backend.train_steps(ours, images, labels, jit_compile=False)

    assert train(order, 0, 2) == 2
    assert train(order, 2, 5) == 5
    flat = order.reshape(-1)
    theirs.fit(images[flat], labels[flat], batch_size=8, shuffle=False, verbose=0)

    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)
    figures = {name: float(value) for name, value in ours.get_metrics_result().items()}
    expected = {name: float(value) for name, value in theirs.get_metrics_result().items()}
    assert figures == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_the_first_step_without_a_finite_loss_is_the_last(small, images_and_labels, poison):
    model = _compiled(small)
    train = backend.train_steps(model, *images_and_labels, jit_compile=False)
    order = np.arange(40, dtype=np.int32).reshape(5, 8)
    train(order, 0, 2)
    model.get_layer("logits").bias.assign(np.full(10, poison, np.float32))
    assert train(order, 2, 5) == 3


def test_devices_are_named():
    assert all(isinstance(name, str) and name for name in backend.devices())
    assert backend.devices()


def test_another_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UserError, match=r"torch.*tensorflow or jax"):
        backend.prepare(deterministic=False)
