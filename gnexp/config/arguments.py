"""The arguments of the built-in functions: what each may hold, and what it does.

The functions themselves have the defaults; a test compares the two. docs/models.md and docs/data.md have tables.
"""

from collections.abc import Mapping
from typing import Any

from gnexp.config.fields import Field, Kind, boolean, fraction, integer, is_integer, non_negative

_SEVERAL = "it holds several numbers"


def _is_widths(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and 1 <= len(value) <= 8
        and all(is_integer(item) and item >= 1 for item in value)
    )


def _widths(what: str) -> Field:
    kind = Kind(_is_widths, "1 to 8 whole numbers of 1 or more, such as (32, 64)")
    return Field(kind, what, not_searched=_SEVERAL, several=True)


_DEPTHS = (18, 34, 50, 101, 152)


def _is_depth(value: Any) -> bool:
    return is_integer(value) and (value in _DEPTHS or (value >= 8 and value % 6 == 2))


MODELS: Mapping[str, Mapping[str, Field]] = {
    "cnn": {
        "filters": _widths("the width of each 3x3 convolution"),
        "units": Field(integer(1), "the width of the dense layer"),
        "conv_dropout": Field(fraction(), "dropout after the convolutions"),
        "dense_dropout": Field(fraction(), "dropout after the dense layer"),
        "l2": Field(non_negative(), "L2 regularization of the convolution kernels"),
    },
    "mlp": {
        "units": _widths("the width of each hidden layer"),
        "dropout": Field(fraction(), "dropout after each hidden layer"),
    },
    "resnet": {
        "depth": Field(
            Kind(_is_depth, "6n + 2 such as 8, 20 or 56 for small images, or 18, 34, 50, 101 or 152 for large ones"),
            "the number of layers with weights",
        ),
        "widen": Field(integer(1), "how many times as many channels as the paper's 16, or 64 for large images"),
        "zero_gamma": Field(boolean(), "whether each block begins as the identity: its last gamma is 0 at first"),
        "l2": Field(non_negative(), "L2 regularization of the convolution kernels"),
    },
    "unet": {
        "width": Field(integer(1), "the channels at full resolution; each level below has twice as many"),
        "levels": Field(integer(1, 6), "how often the resolution is halved"),
    },
}


def _is_size(value: Any) -> bool:
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    return value is None or (len(sides) == 2 and all(is_integer(side) and 1 <= side <= 2**14 for side in sides))


def _is_values(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(is_integer(item) and 0 <= item <= 255 for item in value)


def _path(what: str) -> Field:
    kind = Kind(lambda value: isinstance(value, str) and value != "", "a path")
    return Field(kind, what, may_change=True, shown=False, path=True)


_SIZE = Field(
    Kind(_is_size, "pixels of a side, such as 96, or (height, width)"),
    "the size that every image is brought to; None leaves them as they are",
    several=True,
)
_CROP = Field(boolean(), "cut the middle out to keep the proportions; false distorts the image instead")
_SKIP = Field(boolean(), "leave out, and count, files that cannot be decoded, instead of refusing them")

DATASETS: Mapping[str, Mapping[str, Field]] = {
    "fashion_mnist": {},
    "digits": {},
    "mnist": {},
    "cifar10": {},
    "cifar100": {},
    "image_folder": {
        "directory": _path("a folder for each class, with or without train, validation (or val) and test above them"),
        "size": _SIZE,
        "crop": _CROP,
        "skip_broken": _SKIP,
    },
    "image_pairs": {
        "images": _path("the folder of the images, with or without train, validation (or val) and test in it"),
        "masks": _path("the folder of the masks, which has the same file names"),
        "values": Field(
            Kind(_is_values, "whole numbers of 0 to 255, such as (0, 255)"),
            "what the masks have for each class; () takes 0, 1, 2 and so on, or 0 and 255",
            several=True,
        ),
        "size": _SIZE,
        "crop": _CROP,
        "skip_broken": _SKIP,
    },
    "arrays": {
        "path": _path("an .npz file, or a folder of .npy files, with x_train, y_train, x_test, y_test"),
    },
}
