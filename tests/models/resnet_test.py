"""The built-in networks besides the original's: sizes from the papers, every norm, odd sizes."""

import keras
import numpy as np
import pytest

from gnexp.errors import FunctionError
from gnexp.models import resnet
from gnexp.models.build import build


def _parameters(depth: int, outputs: int, shape: tuple[int, ...], **arguments) -> int:
    norm = keras.layers.BatchNormalization
    with keras.StatelessScope(initialize_variables=False):
        model = resnet.build(keras.Input(shape), outputs, norm, depth=depth, **arguments)
        return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# Those of torchvision's networks of the same names.
@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("depth", "parameters"), {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}.items()
)
def test_the_large_networks_have_their_known_sizes(depth, parameters):
    assert _parameters(depth, 1000, (224, 224, 3)) == parameters


# Table 6 of the paper has 0.27, 0.46, 0.66, 0.85 and 1.7 million, with shortcuts that have no weights: option A.
@pytest.mark.any_backend
@pytest.mark.parametrize(("depth", "millions"), {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}.items())
def test_the_small_networks_have_the_papers_sizes(depth, millions):
    shortcuts = 16 * 32 + 32 * 64 + 2 * (32 + 64)
    assert _parameters(depth, 10, (32, 32, 3)) - shortcuts == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.any_backend
@pytest.mark.parametrize("depth", [8, 20, 18, 50])
def test_the_depth_counts_the_layers_with_weights(depth):
    model = resnet.build(keras.Input((32, 32, 3)), 10, keras.layers.BatchNormalization, depth=depth, widen=1)
    weighted = [each for each in model.layers if hasattr(each, "kernel") and "shortcut" not in each.name]
    assert len(weighted) == depth


@pytest.mark.any_backend
def test_a_block_with_zero_gamma_begins_as_its_shortcut():
    model = resnet.build(keras.Input((8, 8, 16)), 3, keras.layers.BatchNormalization, depth=8, zero_gamma=True)
    zero = {each.name for each in model.layers if hasattr(each, "gamma") and not keras.ops.any(each.gamma)}
    assert zero == {f"stage_{stage}_1_norm_2" for stage in (1, 2, 3)}


@pytest.mark.parametrize(
    "norm",
    ["group", "batch", *(pytest.param(name, marks=pytest.mark.any_backend) for name in ("instance_scalar", "none"))],
)
@pytest.mark.parametrize("name", ["mlp", "resnet", "unet"])
def test_every_network_takes_every_norm_and_a_batch(config, name, norm):
    config.model.update(name=name, norm=norm, args={"depth": 8} if name == "resnet" else {})
    model = build(config.model, (12, 8, 1), 5)
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 8, 1)).astype(np.uint8)
    logits = keras.ops.convert_to_numpy(model(images, training=True))
    assert (logits.shape, logits.dtype) == ((2, 5), np.float32)
    assert np.isfinite(logits).all()


@pytest.mark.any_backend
def test_a_unet_of_images_that_cannot_be_halved_is_refused(config):
    config.model.update(name="unet", args={"levels": 3})
    with pytest.raises(FunctionError, match=r"levels=3 is not allowed: 8 must divide \(28, 28\)"):
        build(config.model, (28, 28, 1), 5)
