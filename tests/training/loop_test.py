"""A training that is stopped after any step and resumed must end as if it had never stopped."""

import contextlib
import dataclasses
import gc

import keras
import numpy as np
import pytest

from gnexp import group_normalization
from gnexp.data.load import load
from gnexp.data.splits import Splits
from gnexp.errors import DivergedError
from gnexp.norms import native
from gnexp.training import backend
from gnexp.training.loop import StoppedError, Training


@pytest.fixture(scope="module")
def splits() -> Splits:
    from configs import smoke

    whole = load(smoke.get_config().data)
    return dataclasses.replace(
        whole,
        train=whole.train.part(slice(100)),
        validation=whole.validation.part(slice(50)),
    )


def _figures(training: Training) -> list[dict]:
    figures = [dict(epoch) for epoch in training.history]
    for epoch in figures:
        del epoch["seconds"]
    return figures


def _finish(training: Training) -> Training:
    for _ in training.epochs():
        pass
    return training


def _stop_after(calls: int):
    """Returns a `stop` that first returns False as many times as `calls`."""
    left = iter([False] * calls)
    return lambda: next(left, True)


def test_evaluation_is_that_of_keras(small, splits):
    training = Training(small, splits)
    ours = training.evaluate(splits.test)
    training.model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    theirs = training.model.evaluate(splits.test.inputs, splits.test.targets, verbose=0, return_dict=True)
    assert (ours.loss, ours.figures["accuracy"]) == pytest.approx((theirs["loss"], theirs["accuracy"]), rel=1e-5)
    np.testing.assert_allclose(training.task.predictions(ours.outputs).sum(axis=1), 1)


@pytest.mark.parametrize("decays", [True, False])
def test_a_training_decays_the_norms_only_if_it_is_to(small, splits, decays):
    small.optimizer.update(name="adamw", decay_norms=decays)
    training = Training(small, splits)
    decays_it = training.model.optimizer._use_weight_decay
    decayed = {weight.name for weight in training.model.trainable_weights if decays_it(weight)}
    assert decayed == ({"kernel", "bias", "gamma", "beta"} if decays else {"kernel"})


def test_an_epochs_figures_are_those_of_keras(small, splits):
    small.data.batch_size = 16  # 100 images: the last step has 4
    training = Training(small, splits)
    epoch = next(training.epochs())

    model = Training(small, splits).model
    optimizer = keras.optimizers.Adam(small.optimizer.learning_rate, amsgrad=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    order = np.concatenate([order.reshape(-1) for order, _ in training._batches(1)])
    images, labels = splits.train.inputs, splits.train.targets
    figures = model.fit(images[order], labels[order], batch_size=16, shuffle=False, verbose=0).history
    assert (epoch["loss"], epoch["accuracy"]) == pytest.approx((figures["loss"][0], figures["accuracy"][0]), rel=1e-5)


@pytest.mark.parametrize("schedule", ["plateau", pytest.param("cosine", marks=pytest.mark.any_backend)])
def test_taken_up_after_any_step_it_ends_the_same_to_the_last_bit(small, splits, schedule):
    small.epochs, small.data.batch_size, small.schedule.name = 2, 16, schedule
    small.schedule.patience = 1
    unbroken = _finish(Training(small, splits))
    unbroken.take_best_weights()

    stopped_at = []
    training = Training(small, splits)
    while len(training.history) < small.epochs:
        with contextlib.suppress(StoppedError):
            for _ in training.epochs(stop=_stop_after(3)):
                pass
            break
        stopped_at.append((len(training.history), training.step))
        arrays, progress = training.state()
        if len(stopped_at) % 2:  # as older versions saved it
            _, right = progress.pop("sums") or (0, 0)
            progress["correct"] = int(right)
        training = Training(small, splits)
        training.restore({name: array.copy() for name, array in arrays.items()}, progress)
    training.take_best_weights()

    assert len(stopped_at) >= 2
    assert any(step for _, step in stopped_at)
    assert _figures(training) == _figures(unbroken)
    assert (training.best_value, training.best_epoch) == (unbroken.best_value, unbroken.best_epoch)
    for ours, theirs in zip(training.model.get_weights(), unbroken.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("step", [None, "3", 1.5])
def test_a_step_that_is_no_number_is_damage(small, splits, step):
    training = Training(small, splits)
    arrays, progress = training.state()
    with pytest.raises(ValueError, match=r"step|int"):
        training.restore(arrays, {**progress, "step": step})


def test_the_state_is_a_snapshot_that_further_training_leaves_alone(small, splits):
    training = Training(small, splits)
    epochs = training.epochs()
    next(epochs)
    arrays, progress = training.state()
    kept = {name: array.copy() for name, array in arrays.items()}
    next(epochs)
    assert len(progress["history"]) == 1
    for name, array in kept.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_every_image_is_seen_once_an_epoch_and_in_another_order_each_time(small, splits):
    small.data.batch_size = 16
    training = Training(small, splits)
    orders = [np.concatenate([order.reshape(-1) for order, _ in training._batches(epoch)]) for epoch in (1, 2)]
    for order in orders:
        assert sorted(order) == list(range(100))
    assert list(orders[0]) != list(orders[1])


def test_the_best_epoch_is_the_first_of_the_best_and_its_weights_are_kept(small, splits):
    small.epochs, small.objective = 3, "val_loss"
    small.optimizer.learning_rate = 0.05  # overshoots: the last epoch is not the best
    training = Training(small, splits)
    weights = {}
    for epoch in training.epochs():
        weights[epoch["epoch"]] = training.model.get_weights()
    losses = [epoch["val_loss"] for epoch in training.history]
    assert training.best_epoch == 1 + int(np.argmin(losses))
    assert training.best_value == min(losses)
    training.take_best_weights()
    for a, b in zip(training.model.get_weights(), weights[training.best_epoch], strict=True):
        np.testing.assert_array_equal(a, b)
    assert training.evaluate(splits.validation).loss == min(losses)


def test_divergence_names_step_and_loss(small, splits):
    small.data.batch_size = 16
    small.optimizer.name, small.optimizer.learning_rate, small.schedule.name = "sgd", 1e30, "constant"
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step \d+ of epoch 1"):
        _finish(Training(small, splits))


def test_the_plateau_rule_cuts_the_learning_rate_that_trains_on(small, splits):
    small.epochs, small.schedule.patience, small.schedule.factor = 4, 1, 0.5
    small.optimizer.name, small.optimizer.learning_rate = "sgd", 1e-9  # so small that val_loss stays where it is
    small.schedule.min_learning_rate = 3e-10
    rates = [epoch["learning_rate"] for epoch in _finish(Training(small, splits)).history]
    assert rates == pytest.approx([1e-9, 1e-9, 5e-10, 3e-10])


def test_nothing_of_a_training_stays_when_it_is_forgotten(small):
    small.data.train_size = 64
    splits = load(small.data)
    alive = []
    for _ in range(4):
        training = Training(small, splits)
        next(training.epochs())
        del training
        backend.forget()
        alive.append(len(gc.get_objects()))
    # The first ones fill caches that stay; a graph that stayed would be thousands of objects.
    assert abs(alive[3] - alive[2]) < 500


@pytest.mark.parametrize("wanted", [False, True])
def test_the_config_says_whether_the_norms_have_the_compiled_kernel(small, splits, wanted):
    small.native = wanted
    training = Training(small, splits)
    expected = (wanted and native.load()) or group_normalization.normalize
    norms = [layer for layer in training.model.layers if isinstance(layer, group_normalization.GroupNormalization)]
    assert norms
    assert all(layer.kernel is expected for layer in norms)
