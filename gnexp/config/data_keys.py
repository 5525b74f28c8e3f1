"""The keys of a config's section `data`."""

import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.config.fields import Field, Kind, choice, integer, is_integer, is_number

_FALLBACKS = ("fashion_mnist", "digits")  # datasets without arguments that the configs of experiments are made for
_DATASETS = open_sections.SECTIONS["data"]
_ONE_DATASET = _DATASETS.not_searched
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _is_part(value: Any) -> bool:
    return (is_integer(value) and value >= 1) or (is_number(value) and 0 < value < 1)


def _is_validation(value: Any) -> bool:
    return value == "test" or _is_part(value)


def in_bytes(value: Any) -> int | None:
    """Returns how many bytes a value such as 2000000000 or "2GB" stands for; None if it stands for none."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?I?B?)", str(value).strip().upper(), re.ASCII)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not found or found[2] not in _UNITS:
        return None
    return int(float(found[1]) * _UNITS[found[2]])


def _is_memory(value: Any) -> bool:
    return value == "" or bool(in_bytes(value))


DATA: Mapping[str, Field] = {
    "data.name": Field(Kind(_DATASETS.accepts, _DATASETS.allowed), "the dataset", not_searched=_ONE_DATASET),
    "data.args": Field(
        Kind(lambda value: isinstance(value, (Mapping, ConfigDict)), "a section of the dataset's keyword arguments"),
        "the dataset's arguments, each a key of its own ([data.md](data.md))",
        not_searched=_ONE_DATASET,
        default={},
    ),
    "data.fallback": Field(
        choice("", *_FALLBACKS),
        "the dataset to use where `data.name` is not available; '' makes that an error",
        not_searched=_ONE_DATASET,
        may_change=True,
        shown=False,
    ),
    "data.directory": Field(
        Kind(lambda value: isinstance(value, str), "the path of a folder, or ''"),
        "where the files of Keras's datasets are; '' looks in $GNEXP_DATA_DIR and Keras's cache, and downloads them",
        not_searched=_ONE_DATASET,
        may_change=True,
        shown=False,
    ),
    "data.batch_size": Field(integer(1), "images in a training step"),
    "data.train_size": Field(
        integer(0),
        "train only on the first images, as many as this; 0 takes all",
        not_searched="all trials share one dataset",
    ),
    "data.validation": Field(
        Kind(_is_validation, "a fraction between 0 and 1, a count of 1 or more, or 'test'"),
        "how many of the training images are held out, or 'test' to validate on the test images",
        not_searched="trials could not be compared",
    ),
    "data.test": Field(
        Kind(_is_part, "a fraction between 0 and 1, or a count of 1 or more"),
        "how many images are held out for the test, where the data has no test images of its own",
        not_searched="trials could not be compared",
        shown=False,
        default=0.2,
    ),
    "data.split_seed": Field(
        integer(-1, 2**32 - 1),
        "seed of what is held out, a share of each class; -1 holds out the last images instead, as `fashion_mnist` and "
        "`digits` always do",
        not_searched="trials could not be compared",
        shown=False,
        default=0,
    ),
    "data.memory": Field(
        Kind(_is_memory, "bytes, such as 2000000000 or '2GB', or '' for a fourth of what there is"),
        "data that takes more than this is read while the network trains",
        not_searched=_ONE_DATASET,
        may_change=True,
        shown=False,
        default="",
    ),
    "data.augment": Field(
        Kind(lambda value: isinstance(value, (Mapping, ConfigDict)), "a section of layers"),
        "Keras's layers that change the training images at random, by their names, with their arguments "
        "([augmentation.md](augmentation.md))",
        not_searched="search the arguments of its layers",
        default={},
        shown=False,
    ),
}
