"""The section `data.augment`: Keras's layers that change images at random, by their names, with their arguments.

config.data.augment.random_flip = {"mode": "horizontal"}
config.data.augment.random_translation = {"height_factor": 0.1, "width_factor": 0.1}
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from gnexp.config import open_sections
from gnexp.config.fields import Field, choice
from gnexp.config.paths import AUGMENT
from gnexp.errors import UserError
from gnexp.functions import signature
from gnexp.functions.signature import REQUIRED, Signature

SECTION = f"data.{AUGMENT}"
# In the order in which they are applied, whatever that of the config: geometry, colours, what hides parts, mixtures.
LAYERS = {
    name: "".join(word.capitalize() for word in name.split("_"))
    for name in (
        *("random_flip", "random_translation", "random_rotation", "random_zoom", "random_shear", "random_perspective"),
        *("random_elastic_transform", "rand_augment", "aug_mix", "auto_contrast", "equalization"),
        *("random_brightness", "random_contrast", "random_saturation", "random_hue", "random_color_jitter"),
        *("random_color_degeneration", "random_grayscale", "random_invert", "random_posterization", "solarization"),
        *("random_sharpness", "random_gaussian_blur", "random_erasing", "mix_up", "cut_mix"),
    )
}
MIXING = ("mix_up", "cut_mix")  # change the targets as well
BLENDING = ("aug_mix",)  # add up several changes of an image, and of its mask
# Of texts, Keras itself checks some only as a layer is made, and a flip's not at all.
_TEXTS = {
    "mode": ("horizontal", "vertical", "horizontal_and_vertical"),
    "interpolation": ("bilinear", "nearest"),
    "fill_mode": ("reflect", "wrap", "constant", "nearest"),
    "random_elastic_transform.fill_mode": ("reflect", "wrap", "constant", "nearest", "mirror"),
}
_GIVEN = ("seed", "data_format", "name", "dtype")


def of(path: str) -> tuple[str, str] | None:
    """Returns the layer and the argument that a dotted path names, or None if it names none."""
    layer, _, argument = path.removeprefix(f"{SECTION}.").partition(".")
    return (layer, argument) if path.startswith(f"{SECTION}.") and argument and "." not in argument else None


def is_layer(path: str) -> bool:
    """Tells whether a dotted path is that of a layer as a whole."""
    return path.startswith(f"{SECTION}.") and path.removeprefix(f"{SECTION}.") in LAYERS


def _takes(layer: str) -> Signature:
    found = signature.of(f"keras.layers:{LAYERS[layer]}")
    parameters = tuple(each for each in found.parameters if each.name not in _GIVEN) if found else ()
    return Signature(parameters, open=False)


def arguments(layer: str) -> list[str]:
    """Returns the names of a layer's arguments, without those that gnexp gives."""
    return _takes(layer).names


def seeded(layer: str, seed: int) -> dict[str, int]:
    """Returns the argument `seed` of a layer; {} for one that is not random."""
    return {"seed": seed} if signature.of(f"keras.layers:{LAYERS[layer]}").get("seed") else {}


def field(path: str) -> Field | None:
    """Returns the field of a dotted path, or None if there is no such layer, or it has no such argument."""
    layer, argument = of(path)
    parameter = _takes(layer).get(argument) if layer in LAYERS else None
    found = parameter and open_sections.of_parameter(parameter)
    texts = _TEXTS.get(f"{layer}.{argument}", _TEXTS.get(argument))
    return dataclasses.replace(found, kind=choice(*texts)) if found and texts else found


def unknown(path: str, where: str = "config") -> UserError:
    """Returns the error for a path of which there is no field."""
    layer, _, argument = path.removeprefix(f"{SECTION}.").partition(".")
    if layer == "random_crop":
        return UserError(
            f"{where}.{SECTION}.{layer} is not allowed: images must keep their size; for the crop of an image with "
            'zeros around it, take random_translation with fill_mode="constant"'
        )
    if layer not in LAYERS:
        near = difflib.get_close_matches(layer, LAYERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(LAYERS)}"
        return UserError(f"{where}.{SECTION}.{layer}: there is no such layer; {hint}")
    if not argument:
        return UserError(f"{where}.{path} is a section: give its keys one by one, such as {where}.{path}.factor")
    takes = f"keras.layers.{LAYERS[layer]} {open_sections.takes(_takes(layer))}"
    if argument in _GIVEN:
        return UserError(f"{where}.{path} is not allowed: gnexp itself gives {argument!r}; {takes}")
    return UserError(f"{where}.{path}: there is no such argument; {takes}")


def check(flat: Mapping[str, Any]) -> None:
    """Checks the layers of a config by dotted path, and their arguments.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    for path, value in flat.items():
        if not path.startswith(f"{SECTION}."):
            continue
        accepted = field(path) if of(path) else None
        if is_layer(path):
            if not isinstance(value, (Mapping, ConfigDict)):
                raise UserError(f"config.{path}={value!r} is not allowed: it must be a section of its arguments")
        elif accepted is None:
            raise unknown(path)
        elif not accepted.accepts(value):
            raise UserError(f"config.{path}={value!r} is not allowed: it must be {accepted.allowed}")
    for layer in used(flat):
        if layer in MIXING and flat.get("task.loss"):
            raise UserError(
                f"config.{SECTION}.{layer} is not allowed with config.task.loss={flat['task.loss']!r}: a mixed image "
                "has no label, but shares of several, which only the classification's own loss takes"
            )
        for parameter in _takes(layer).parameters:
            path = f"{SECTION}.{layer}.{parameter.name}"
            if parameter.default is REQUIRED and not any(given.endswith(path) for given in flat):
                raise UserError(f"config.{path} is missing: keras.layers.{LAYERS[layer]} needs it")


def used(flat: Mapping[str, Any]) -> list[str]:
    """Returns the layers of a config by dotted path, in the order in which they are applied."""
    given = {path.removeprefix(f"{SECTION}.").partition(".")[0] for path in flat if path.startswith(f"{SECTION}.")}
    return [layer for layer in LAYERS if layer in given]


def make_room(config: ConfigDict, path: str) -> None:
    """Adds to an unlocked config an argument that a flag sets and that it lacks, so that the flag can be read."""
    layer, argument = of(path)
    if field(path) is None:
        raise unknown(path)
    if not isinstance(config.get("data"), ConfigDict):
        return
    section = config.data
    for name in (AUGMENT, layer):
        if name not in section:
            section[name] = ConfigDict()
        section = section[name]
    if argument not in section:
        section[argument] = FieldReference(None, _takes(layer).get(argument).kind or object)
