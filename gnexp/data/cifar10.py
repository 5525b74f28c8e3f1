"""CIFAR-10: the archive, its batches, or their arrays in a `cifar10.npz`."""

import hashlib
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from gnexp.data import keras_files
from gnexp.data.cifar import Cifar
from gnexp.errors import UserError, first_line

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_CIFAR = Cifar(
    name="CIFAR-10",
    folder="cifar-10-batches-py",
    archives=("cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz", "cifar-10-batches-py-target_archive"),
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    train=_BATCHES,
    test=("test_batch",),
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    labels=b"labels",
)
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ARRAYS = "cifar10.npz"
# Of the images and the labels, as bytes, in the original order.
_SHA256 = {
    "train": "f912919bdea371136f1aa4feed6beeca728015a5f08b1899a29c932a7e30be2b",
    "test": "8193b3fbce55bec361cd1b8fd4880cb1649832dc4d6de6da1e7a21847a4843aa",
}


def check(directory: str) -> None:
    """Makes sure that a form of it is on this machine; raises UnavailableError if it cannot be downloaded either."""
    if not _arrays(directory):
        _CIFAR.find(directory)


def read(data_directory: str = "") -> Mapping[str, Any]:
    """Returns training and test images as a dataset's function does.

    Args:
      data_directory: a config's `data.directory`.

    Raises:
      UserError: a file is damaged, or the dataset is not available.
    """
    if arrays := _arrays(data_directory):
        return {**_read_arrays(arrays), "labels": LABELS}
    return {**_CIFAR.splits(_CIFAR.files(_CIFAR.find(data_directory))), "labels": LABELS}


def _arrays(directory: str) -> pathlib.Path | None:
    places = (folder / below / _ARRAYS for folder in keras_files.named(directory) for below in ("", "cifar10"))
    return next((path for path in places if path.is_file()), None)


def _read_arrays(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    parts = {}
    try:
        with np.load(path) as file:
            for split in _SHA256:
                parts[split] = file[f"x_{split}"], file[f"y_{split}"].astype(np.uint8)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from error
    for split, (images, labels) in parts.items():
        found = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        if found != _SHA256[split]:
            raise UserError(f"{path} is damaged: the SHA-256 sum of its {split} images and labels is {found}")
    return {split: (images, labels.astype(np.int32)) for split, (images, labels) in parts.items()}
