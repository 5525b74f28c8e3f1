"""Data larger than memory: the same order and figures as in memory, and resumed at any step to the last bit."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import smoke
from gnexp.data import stream
from gnexp.data.columns import Column
from gnexp.data.load import load
from gnexp.tasks.create import create
from gnexp.training.evaluation import evaluate
from gnexp.training.loop import StoppedError, Training
from gnexp.training.run import train
from gnexp.workdir import folder


@pytest.fixture
def stored(tmp_path) -> ConfigDict:
    """A training on images in a file: 3 classes, 90 images of 12x12, 4 steps and a smaller one an epoch."""
    random = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (random.integers(0, 100, (90, 12, 12, 3)) + 70 * y[:, None, None, None]).astype(np.uint8)
    for name, array in {"x_train": x, "y_train": y, "w_train": 1 + y / 2}.items():
        np.save(tmp_path / f"{name}.npy", array)
    config = smoke.get_config()
    config.data.name, config.data.fallback, config.data.memory = "arrays", "", 100
    config.data.args.path = str(tmp_path)
    config.epochs = 2
    config.model.name, config.model.groups = "mlp", 2
    config.model.args.units = (8,)
    return config


def test_a_training_is_the_same_in_memory_and_out_of_it_and_stopped_at_any_step(stored):
    splits = load(stored.data)
    assert not splits.train.in_memory
    training = Training(stored, splits)
    unbroken = list(training.epochs())
    weights = training.model.get_weights()

    stored.data.memory = ""
    inside = load(stored.data)
    assert inside.train.in_memory
    training = Training(stored, inside)
    for found, expected in zip(training.epochs(), unbroken, strict=True):
        assert {**found, "seconds": 0} == pytest.approx({**expected, "seconds": 0}, rel=1e-5)

    # Stopped within an epoch, at its end and within the next, and resumed by another training each time.
    state, steps = None, [0]

    def stop() -> bool:
        steps[0] += 1
        return steps[0] > 4

    for _ in range(20):
        training = Training(stored, splits)
        if state:
            training.restore(*state)
        steps[0] = 0
        try:
            list(training.epochs(stop=stop))
            break
        except StoppedError:
            state = training.state()
    assert [{**epoch, "seconds": 0} for epoch in training.history] == [{**epoch, "seconds": 0} for epoch in unbroken]
    for found, expected in zip(training.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_evaluation_has_the_same_batches_in_memory_and_out_of_it(stored, tmp_path):
    np.save(tmp_path / "x_train.npy", np.random.default_rng(0).integers(0, 99, (90, 200, 200, 3)).astype(np.uint8))
    sizes = []

    def predict(inputs):
        sizes.append(len(inputs))
        return inputs[:, 0, 0].astype(np.float32), 0.0

    for memory in (100, "100MB"):
        stored.data.memory = memory
        splits = load(stored.data)
        evaluate(create(stored, splits), predict, splits.train)
    half = len(sizes) // 2
    assert half > 1 and sizes[:half] == sizes[half:]


@pytest.mark.any_backend
def test_targets_that_are_not_in_memory_are_shown(stored, tmp_path):
    random = np.random.default_rng(0)
    np.save(tmp_path / "y_train.npy", random.integers(0, 2, (90, 300)).astype(np.int32))  # more than 256 bytes each
    stored.task.name, stored.objective, stored.epochs = "multilabel", "val_f1", 1
    with folder.opened(tmp_path / "workdir", stored) as config:
        splits = load(config.data)
        assert isinstance(splits.validation.targets, Column)
        train(config, splits, tmp_path / "workdir")


def test_batches_depend_on_the_order_alone(stored, monkeypatch):
    splits = load(stored.data)
    order = np.random.default_rng(1).permutation(len(splits.train)).astype(np.int32)[:60].reshape(12, 5)
    expected = [splits.train.inputs[rows] for rows in order]
    for count in (1, 2, 3):
        splits.train.readers.count = count
        found = list(stream.batches(splits.train, order, start=2))
        for batch, images, rows in zip(found, expected[2:], order[2:], strict=True):
            np.testing.assert_array_equal(batch.inputs, images)
            np.testing.assert_array_equal(batch.targets, splits.train.targets[rows])
            np.testing.assert_array_equal(batch.weights, splits.train.weights[rows])
