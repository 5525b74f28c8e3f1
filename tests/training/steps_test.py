"""Many steps in one graph must be the steps of Keras's own fit."""

import keras
import numpy as np
import pytest

from gnexp.data.splits import SHAPE, Split, Splits
from gnexp.models.build import build
from gnexp.tasks.classification import Classification
from gnexp.training import backend, optimizers, steps

TASK = Classification(Splits(None, None, None, tuple("0123456789")))


def _compiled(config, seed: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = build(config.model, SHAPE, 10, config.precision)
    model.compile(
        optimizers.build(config.optimizer, config.schedule, 5, 1, config.precision, config.jit_compile),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.jit_compile or keras.backend.backend() == "jax",
    )
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def images_and_labels():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (40, *SHAPE), np.uint8), random.integers(0, 10, 40).astype(np.int32)


@pytest.fixture
def undeterministic():
    """Undoes what an earlier test in this process may have asked for: XLA has no deterministic max pooling."""
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import config

        before = config.is_op_determinism_enabled()
        config.disable_op_determinism()
        yield
        if before:
            config.enable_op_determinism()
    else:
        yield


def test_an_earlier_deterministic_training_leaves_the_next_as_it_asks_to_be(undeterministic):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX asks for no determinism")
    from tensorflow.python.framework import config

    for wanted in (True, False):
        backend.prepare(wanted)
        assert config.is_op_determinism_enabled() == wanted


@pytest.mark.usefixtures("undeterministic")
@pytest.mark.parametrize(
    ("optimizer", "norm", "precision", "jit_compile"),
    [
        ("amsgrad", "group", "float32", False),
        ("sgd", "batch", "float32", False),
        ("adam", "group", "mixed_float16", False),
        ("adamw", "batch", "mixed_bfloat16", False),
        ("amsgrad", "group", "float32", True),
    ],
)
def test_steps_are_those_of_keras_fit(small, images_and_labels, optimizer, norm, precision, jit_compile):
    if jit_compile and keras.backend.backend() == "jax":
        pytest.skip("JAX always compiles")
    small.optimizer.name, small.model.norm, small.precision, small.jit_compile = optimizer, norm, precision, jit_compile
    images, labels = images_and_labels
    ours, theirs = _compiled(small), _compiled(small)
    order = np.random.default_rng(1).permutation(40).astype(np.int32).reshape(5, 8)
    train = steps.train_steps(ours, TASK, Split(images, labels), jit_compile)

    rows = np.concatenate([train(order, 0, 2), train(order, 2, 5)])
    flat = order.reshape(-1)
    history = theirs.fit(images[flat], labels[flat], batch_size=8, shuffle=False, verbose=0).history

    # AMSGrad amplifies the rounding of a gradient near zero; a step is about 1e-3.
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=5e-6, err_msg=a.path)
    losses, weights, right = rows.T
    assert losses.mean() == pytest.approx(history["loss"][0], rel=1e-5)
    assert weights.tolist() == [8] * 5
    assert right.sum() / 40 == pytest.approx(history["accuracy"][0])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_the_first_step_without_a_finite_loss_is_the_last(small, images_and_labels, poison):
    model = _compiled(small)
    train = steps.train_steps(model, TASK, Split(*images_and_labels), jit_compile=False)
    order = np.arange(40, dtype=np.int32).reshape(5, 8)
    assert np.isfinite(train(order, 0, 2)[0]).all()
    model.get_layer("logits").bias.assign(np.full(10, poison, np.float32))
    rows = train(order, 2, 5)
    assert len(rows) == 1
    assert not np.isfinite(rows[0, 0])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_predictions_are_those_of_keras_at_any_time_and_of_any_number_of_images(small, jit_compile):
    small.model.norm = "batch"  # which tells training from inference
    model = _compiled(small)
    predict = steps.predict(model, jit_compile)
    images = np.random.default_rng(2).integers(0, 256, (503, *SHAPE), np.uint8)
    for count, value in [(503, 0.5), (7, -0.5)]:
        model.get_layer("logits").bias.assign(np.full(10, value, np.float32))
        expected = model.predict(images[:count], verbose=0)
        outputs, penalty = predict(images[:count])
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
        assert penalty == pytest.approx(sum(map(float, model.losses)), rel=1e-6)
