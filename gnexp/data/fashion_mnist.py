"""Fashion-MNIST (Xiao et al., arXiv 1708.07747)."""

import gzip
from collections.abc import Mapping
from typing import Any

import numpy as np

from gnexp.data import keras_files
from gnexp.data.splits import SHAPE
from gnexp.errors import UserError

_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FOLDER = "fashion-mnist"
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def check(directory: str) -> None:
    """Makes sure that the files are on this machine, downloading them if necessary.

    Args:
      directory: a config's `data.directory`.

    Raises:
      UnavailableError: the files are not on this machine and cannot be downloaded.
      UserError: a file is damaged.
    """
    _find(directory)


def read(data_directory: str = "") -> Mapping[str, Any]:
    """Returns training and test images as a dataset's function does; raises what `check` raises.

    Args:
      data_directory: a config's `data.directory`.
    """
    files = _find(data_directory)

    def split(name: str) -> tuple[np.ndarray, np.ndarray]:
        images, labels = (gzip.decompress(files[f"{name}-{kind}-ubyte.gz"]) for kind in ("images-idx3", "labels-idx1"))
        return (
            np.frombuffer(images, np.uint8, offset=16).reshape(-1, *SHAPE),
            np.frombuffer(labels, np.uint8, offset=8).astype(np.int32),
        )

    return {"train": split("train"), "test": split("t10k"), "labels": LABELS}


def _find(directory: str) -> dict[str, bytes]:
    """Returns the four verified files from the first place that has any; downloads them where none has."""
    named = keras_files.named(directory)
    for folder in (folder for place in named for folder in (place, place / _FOLDER)):
        if any((folder / name).exists() for name in _FILES):
            return _verified({name: folder / name for name in _FILES})
    try:
        return _verified({name: keras_files.cache() / _FOLDER / name for name in _FILES})
    except UserError as error:
        why = "; ".join([*(f"it is not in {place}" for place in named), str(error)])
        wanted = {name: (keras_files.KERAS + name, md5) for name, md5 in _FILES.items()}
        paths = keras_files.download("Fashion-MNIST", wanted, _FOLDER, why)
        return _verified(dict(zip(_FILES, paths, strict=True)))


def _verified(paths: dict) -> dict[str, bytes]:
    return {name: keras_files.verified(path, _FILES[name]) for name, path in paths.items()}
