"""Fashion-MNIST (Xiao et al., arXiv 1708.07747)."""

import gzip
import hashlib
import os
import pathlib
import socket

import numpy as np

from gnexp.data.splits import SHAPE, UnavailableError
from gnexp.errors import UserError
from gnexp.terminal import places
from gnexp.terminal.stderr import native_stderr

_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FOLDER, _VARIABLE = "fashion-mnist", "GNEXP_DATA_DIR"
_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # keras.datasets.fashion_mnist's own source
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


def load(directory: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns training and test images, each a pair (images, labels); raises what `check` raises.

    Args:
      directory: a config's `data.directory`.
    """
    files = _find(directory)

    def images(name: str) -> np.ndarray:
        return np.frombuffer(gzip.decompress(files[name]), np.uint8, offset=16).reshape(-1, *SHAPE)

    def labels(name: str) -> np.ndarray:
        return np.frombuffer(gzip.decompress(files[name]), np.uint8, offset=8).astype(np.int32)

    return tuple(
        (images(f"{split}-images-idx3-ubyte.gz"), labels(f"{split}-labels-idx1-ubyte.gz"))
        for split in ("train", "t10k")
    )


def _find(directory: str) -> dict[str, bytes]:
    """Returns the four verified files from the first place that has any; downloads them where none has."""
    given = {"config.data.directory": directory, _VARIABLE: os.environ.get(_VARIABLE)}
    named = [places.expanded(name, place) for name, place in given.items() if place]
    for folder in (folder for place in named for folder in (place, place / _FOLDER)):
        if any((folder / name).exists() for name in _FILES):
            return {name: _verified(folder / name) for name in _FILES}
    cache = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras", "datasets", _FOLDER)
    try:
        return {name: _verified(cache / name) for name in _FILES}
    except UserError as error:
        return _download("; ".join([*(f"it is not in {place}" for place in named), str(error)]))


def _verified(path: pathlib.Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != _FILES[path.name]:
        raise UserError(f"{path} is damaged: its MD5 sum is {found}, it should be {_FILES[path.name]}")
    return content


def _download(why: str) -> dict[str, bytes]:
    with native_stderr(pathlib.Path(os.devnull)):
        import keras  # Takes seconds, and only a download needs it.

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # A network that drops packets would block the training forever.
    try:
        return {
            name: _verified(
                pathlib.Path(
                    keras.utils.get_file(name, origin=_URL + name, cache_subdir=f"datasets/{_FOLDER}", file_hash=md5)
                )
            )
            for name, md5 in _FILES.items()
        }
    except Exception as error:  # get_file raises plain Exception, among others.
        raise UnavailableError(
            f"Fashion-MNIST is not available ({why}; {error}): put {', '.join(_FILES)} into a folder and name it with "
            "--config.data.directory or $GNEXP_DATA_DIR"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
