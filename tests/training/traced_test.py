"""A training that takes over the network of another is, to the last bit, the one that it is by itself."""

import dataclasses

import keras
import numpy as np
import pytest

from configs import smoke
from gnexp.config.stored import from_json, to_json
from gnexp.data.load import load
from gnexp.data.splits import Splits
from gnexp.training.loop import Training
from gnexp.training.traced import Kept

_KINDS = {
    "dropout and amsgrad": {"model.norm": "group", "optimizer.name": "amsgrad", "model.args.conv_dropout": 0.3},
    "moving averages and momentum": {"model.norm": "ghost_batch", "optimizer.name": "sgd", "optimizer.momentum": 0.9},
    "a scaled loss": {"precision": "mixed_float16"},
    "images that are turned": {"data.augment.random_rotation": {"factor": 0.2}, "schedule.name": "cosine"},
}


@pytest.fixture(scope="module")
def splits() -> Splits:
    whole = load(smoke.get_config().data)
    return dataclasses.replace(
        whole, train=whole.train.part(slice(96)), validation=whole.validation.part(slice(50)), test=whole.test
    )


def finished(training: Training) -> tuple[list[dict], list[np.ndarray]]:
    """Returns the figures of a training, and its weights."""
    epochs = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in training.epochs()]
    return epochs, training.best_model().get_weights()


@pytest.mark.parametrize(
    "kind",
    # On JAX some take long to compile, and show nothing more.
    [
        pytest.param(kind, marks=pytest.mark.any_backend if "that" in kind or "scaled" in kind else ())
        for kind in _KINDS
    ],
)
def test_it_begins_anew_with_what_is_its_own(small, splits, kind):
    small.epochs, small.data.batch_size, small.model.virtual_batch_size = 2, 32, 8
    small.update_from_flattened_dict({key: value for key, value in _KINDS[kind].items() if "random" not in key})
    if "data.augment.random_rotation" in _KINDS[kind]:
        small.data.augment.random_rotation = _KINDS[kind]["data.augment.random_rotation"]
    kept, config = Kept(), from_json(to_json(small))
    former = Training(from_json(to_json(small)), splits, kept)
    finished(former)
    config.seed = 1
    if small.schedule.name != "cosine":  # whose rates are numbers of the graph
        config.optimizer.learning_rate = 3e-3
    ours, theirs = Training(config, splits, kept), Training(config, splits)
    assert ours.model is former.model
    assert [layer.name for layer in ours.model.layers] == [layer.name for layer in theirs.model.layers]
    found, alone = finished(ours), finished(theirs)
    assert found[0] == alone[0]
    for one, other in zip(found[1], alone[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("key", "value"),
    [("model.epsilon", 1e-2), ("optimizer.name", "sgd"), ("data.batch_size", 16), ("task.label_smoothing", 0.1)],
)
def test_what_is_traced_is_not_taken_over(small, splits, key, value):
    kept = Kept()
    former = Training(small, splits, kept).model
    other = from_json(to_json(small))
    other.update_from_flattened_dict({key: value})
    assert Training(other, splits, kept).model is not former
    again = Training(other, splits, kept).model
    assert Training(other, dataclasses.replace(splits), kept).model is not again  # other data


@pytest.mark.any_backend
def test_code_of_the_users_and_large_networks_are_not_kept(small, splits, monkeypatch):
    kept = Kept()
    small.task.loss = "keras.losses:sparse_categorical_crossentropy"
    Training(small, splits, kept)
    assert not kept
    small.task.loss = ""
    small.data.augment.aug_mix = {"factor": 0.1}  # The seed draws what it traces.
    Training(small, splits, kept)
    assert not kept
    del small.data.augment.aug_mix
    Training(small, splits, kept)
    assert kept
    kept.forget()
    assert not kept
    monkeypatch.setattr("gnexp.training.traced._MOST_PARAMETERS", 100)
    Training(small, splits, kept)
    assert not kept
    assert keras.backend.get_uid("never") == 1
