"""Augmentation: images and targets change together, only in training, and the same after every interruption."""

import contextlib
import dataclasses
import random

import keras
import numpy as np
import pytest

from gnexp.config import augment, beginning
from gnexp.config.validation import validate
from gnexp.data.splits import Split, Splits
from gnexp.errors import FunctionError, UserError
from gnexp.tasks.create import create
from gnexp.training.augment import Augment
from gnexp.training.check import check
from gnexp.training.loop import StoppedError, Training

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 16, 16, 3), np.uint8)


def splits(targets, images=IMAGES, labels="abc") -> Splits:
    """Returns a dataset whose parts are all the same."""
    return Splits(*[Split(images, targets)] * 3, tuple(labels))


LABELS = splits(RANDOM.integers(0, 3, 40).astype(np.int32))


def changed(config, data):
    """Returns the images and targets of a dataset, changed once."""
    made = Augment(config, data, create(config, data))
    given = map(keras.ops.convert_to_tensor, (data.train.inputs, data.train.targets))
    return tuple(map(keras.ops.convert_to_numpy, made(*given)))


@pytest.mark.any_backend
def test_masks_get_the_geometry_of_their_images(small):
    masks = RANDOM.integers(0, 2, (20, 16, 16)).astype(np.int32)
    images = np.repeat(255 * masks[..., None].astype(np.uint8), 3, axis=-1)
    small.task.name, small.objective = "segmentation", "val_dice"
    small.data.augment = {
        "random_flip": {},
        "random_translation": {
            "height_factor": 0.25,
            "width_factor": 0.25,
            "interpolation": "nearest",
            "fill_mode": "constant",
        },
        "random_rotation": {"factor": 0.2, "interpolation": "nearest", "fill_mode": "constant"},
    }
    found, targets = changed(small, splits(masks, images, "ab"))
    assert (targets != masks).mean() > 0.2
    np.testing.assert_array_equal(found[..., 0], 255 * targets)
    assert (found.dtype, targets.dtype) == (np.uint8, np.int32)


_NEEDED = {"factor": 0.3, "height_factor": 0.3, "width_factor": 0.3, "max_factor": 2}


@pytest.mark.any_backend
@pytest.mark.parametrize("layer", sorted({*augment.LAYERS} - {*augment.MIXING, *augment.BLENDING, "random_grayscale"}))
def test_no_layer_gives_a_pixel_another_class_than_there_is(small, layer):
    takes = augment.arguments(layer)
    small.task.name, small.objective = "segmentation", "val_dice"
    arguments = {name: _NEEDED[name] for name in _NEEDED if name in takes}
    small.data.augment = {layer: {"factor": 4} if layer == "random_posterization" else arguments}
    masks = RANDOM.choice(np.array([0, 3], np.int32), (20, 16, 16))
    made = Augment(small, (data := splits(masks, IMAGES[:20], "abcd")), create(small, data))
    for _ in range(3):
        _, found = made(*map(keras.ops.convert_to_tensor, (data.train.inputs, masks)))
        assert set(np.unique(keras.ops.convert_to_numpy(found))) <= {0, 3}


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ({"aug_mix": {}}, r"aug_mix is not allowed with .*'segmentation': it would mix the classes of a mask"),
        (
            {"random_zoom": {"height_factor": 0.3, "fill_value": 7.0}},
            r"random_zoom.fill_value=7.0 is not allowed with .*: it would fill the masks",
        ),
        ({"mix_up": {}}, r"mix_up is not allowed with config.task.name='segmentation'"),
    ],
    ids=str,
)
def test_what_would_spoil_masks_is_refused(small, layers, line):
    small.task.name, small.objective = "segmentation", "val_dice"
    small.data.augment = layers
    with pytest.raises(UserError, match=line):
        changed(small, splits(np.zeros((40, 16, 16), np.int32)))


@pytest.mark.any_backend
@pytest.mark.parametrize("layer", augment.MIXING)
def test_mixed_labels_need_the_classifications_own_loss(small, layer):
    small.data.augment, small.task.loss = {layer: {}}, "huber"
    with pytest.raises(UserError, match=rf"config.data.augment.{layer} is not allowed with config.task.loss='huber'"):
        validate(small)


@pytest.mark.any_backend
def test_mixed_labels_have_no_class_to_weigh(small):
    small.data.augment, small.task.class_weight = {"mix_up": {}}, "balanced"
    with pytest.raises(UserError, match=r"class_weight='balanced' is not allowed: an image that config\.data\."):
        beginning.check(small)


@pytest.mark.any_backend
def test_mixed_images_have_no_weight_of_their_own(small):
    small.data.augment = {"mix_up": {}}
    train = dataclasses.replace(LABELS.train, weights=np.ones(len(IMAGES), np.float32))
    with pytest.raises(UserError, match=r"data\.augment\.mix_up is not allowed with sample weights"):
        changed(small, dataclasses.replace(LABELS, train=train))


def test_any_seed_is_taken(small):
    small.data.augment, small.seed = {"random_flip": {}}, 2**32 - 1
    assert changed(small, LABELS)[0].shape == IMAGES.shape


@pytest.mark.any_backend
@pytest.mark.parametrize("layer", augment.MIXING)
def test_labels_are_mixed_as_their_images_are(small, layer):
    labels = RANDOM.integers(0, 2, 40).astype(np.int32)
    images = np.broadcast_to((200 * labels).astype(np.uint8)[:, None, None, None], (40, 16, 16, 1))
    small.data.augment = {layer: {}}
    found, shares = changed(small, splits(labels, images, "ab"))
    assert shares.min(axis=1).mean() > 0.02
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    # CutMix counts the area that it asked for, also where the border cuts it.
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 200 * shares[:, 1], atol=0.6 if layer == "mix_up" else 30)


@pytest.mark.any_backend
def test_the_loss_of_mixed_labels_is_that_of_keras(small):
    data = LABELS
    logits = RANDOM.normal(size=(40, 3)).astype(np.float32)
    shares = RANDOM.dirichlet([1, 1, 1], 40).astype(np.float32)
    small.task.label_smoothing = 0.1
    ours = create(small, data).loss(*map(keras.ops.convert_to_tensor, (shares, logits)))
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction=None)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs(shares, logits)), rtol=1e-5
    )


@pytest.mark.any_backend
def test_floats_keep_their_range(small):
    images = RANDOM.uniform(0, 1, (40, 16, 16, 3)).astype(np.float32)
    small.data.augment = {"random_brightness": {"factor": 0.9}}
    found, _ = changed(small, splits(LABELS.train.targets, images))
    assert (found.min(), found.max()) == (0, 1)
    assert np.abs(found - images).mean() > 0.1


def test_stopped_anywhere_it_ends_the_same_to_the_last_bit(small):
    small.data.batch_size, small.epochs, small.model.norm = 8, 2, "batch"
    small.data.augment = {"random_flip": {}, "random_translation": {"height_factor": 0.2, "width_factor": 0.2}}

    def finished(stops):
        training = Training(small, LABELS)
        for left in stops:
            calls = iter([False] * left)
            with pytest.raises(StoppedError):
                list(training.epochs(stop=lambda calls=calls: next(calls, True)))
            again = Training(small, LABELS)
            again.restore(*training.state())
            training = again
        list(training.epochs())
        return training

    unbroken, broken = finished([]), finished([2, 1])
    for one, other in zip(unbroken.model.variables, broken.model.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert [epoch["loss"] for epoch in unbroken.history] == [epoch["loss"] for epoch in broken.history]
    small.data.augment = {}
    assert finished([]).history[0]["loss"] != unbroken.history[0]["loss"]


@pytest.mark.any_backend
def test_every_trace_draws_the_same_chains_of_changes(small):
    small.data.augment = {"aug_mix": {"num_chains": 1}}
    made = Augment(small, LABELS, create(small, LABELS))
    found = []
    for seed in range(3):  # as after a resume, where Python's random numbers are others
        random.seed(seed)
        before = random.getstate()
        found.append(made.examples(LABELS))
        assert random.getstate() == before
    for images in found[1:]:
        np.testing.assert_array_equal(found[0], images)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ({"random_flop": {}}, "config.data.augment.random_flop: there is no such layer; did you mean 'random_flip'?"),
        (
            {"random_flip": {"moed": 1}},
            "random_flip.moed: there is no such argument; keras.layers.RandomFlip takes mode",
        ),
        ({"random_flip": {"mode": "sideways"}}, "random_flip.mode='sideways' is not allowed: it must be one of 'horiz"),
        ({"rand_augment": {"interpolation": "x"}}, "interpolation='x' is not allowed: it must be one of 'bilinear', "),
        ({"random_shear": {"fill_mode": "mirror"}}, "fill_mode='mirror' is not allowed: it must be one of 'reflect', "),
        ({"random_crop": {"height": 16, "width": 16}}, "random_crop is not allowed: images must keep their size; for"),
        ({"random_flip": {"seed": 1}}, "random_flip.seed is not allowed: gnexp itself gives 'seed'"),
        ({"random_flip": True}, "config.data.augment.random_flip=True is not allowed: it must be a section"),
        ({"random_rotation": {}}, "config.data.augment.random_rotation.factor is missing"),
        ({"mix_up": {"alpha": "much"}}, "config.data.augment.mix_up.alpha='much' is not allowed: it must be a number"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_before_keras_is_imported(small, layers, line):
    small.data.augment = layers
    with pytest.raises(UserError) as caught:
        validate(small)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ({"random_zoom": {"height_factor": 0.1, "fill_mode": "x"}}, "config.data.augment.random_zoom is not allowed: "),
    ],
    ids=str,
)
def test_a_layer_that_cannot_be_is_answered_before_the_first_step(small, layers, line):
    small.data.augment = layers
    with pytest.raises(FunctionError, match=line):
        changed(small, LABELS)


@pytest.mark.parametrize(("layer", "compiles"), [("random_flip", True), ("random_rotation", False)])
def test_what_xla_lacks_is_named_before_the_first_step(small, layer, compiles):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has but one compiler, and its layers suit it")
    small.jit_compile, small.deterministic = True, False
    small.data.augment = {layer: {} if compiles else {"factor": 0.1}}
    refused = pytest.raises(FunctionError, match=r"jit_compile=True is not allowed.*: XLA has no ImageProjectiveTransf")
    with contextlib.nullcontext() if compiles else refused:
        check(small, LABELS)


def test_what_is_no_image_is_not_augmented(small):
    small.data.augment = {"random_flip": {}}
    data = splits(LABELS.train.targets, RANDOM.normal(size=(40, 5)).astype(np.float32))
    with pytest.raises(UserError, match=r"config\.data\.augment is not allowed: the inputs of digits are no images$"):
        changed(small, data)


def test_images_without_channels_are_known_as_such(small):
    data = splits(LABELS.train.targets, RANDOM.random((40, 16, 16)).astype(np.float32))
    says = r"images have channels: return the shape \(n, 16, 16, 1\) instead of \(n, 16, 16\)"
    with pytest.raises(FunctionError, match=f"'cnn' does not build: .*; {says}"):
        check(small, data)
    small.data.augment = {"random_flip": {}}
    with pytest.raises(UserError, match=f"are no images; {says}"):
        changed(small, data)
