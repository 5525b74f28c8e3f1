"""The datasets: Fashion-MNIST (Xiao et al., arXiv 1708.07747) and scikit-learn's digits in the same shape.

Images are uint8 arrays of shape (n, 28, 28, 1), labels are int32 arrays of shape (n,).
"""

import dataclasses
import gzip
import hashlib
import os
import pathlib
import socket

import numpy as np
from ml_collections import ConfigDict

from gnexp.console import native_stderr
from gnexp.errors import UserError

SHAPE = (28, 28, 1)

_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FOLDER = "fashion-mnist"
_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # keras.datasets.fashion_mnist's own source
_FASHION = (
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


@dataclasses.dataclass(frozen=True)
class Splits:
    """One dataset, ready to train on.

    Attributes:
      train, validation, test: pairs (images, labels).
      labels: the name of each class.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    labels: tuple[str, ...]


class UnavailableError(UserError):
    """A dataset that is neither on this machine nor to be downloaded."""


def available(config: ConfigDict) -> tuple[str, str]:
    """Returns the dataset that a training can really have, and why it is not the one asked for ("" where it is).

    Downloads what is not on this machine.

    Args:
      config: a config's `data` section.

    Raises:
      UserError: a file is damaged, or `config.name` cannot be had and `config.fallback` names no other dataset.
    """
    if config.name == "digits":
        return config.name, ""
    try:
        _find(config.directory)
    except UnavailableError as error:
        if config.fallback in ("", config.name):
            raise
        return config.fallback, str(error)
    return config.name, ""


def load(config: ConfigDict) -> Splits:
    """Reads the dataset `config.name` and holds its validation split out.

    Args:
      config: a config's `data` section. `validation` is a fraction or a count of the training images, taken from
        their end (both datasets come shuffled), or "test" for the test images themselves. Of the rest, the first
        `train_size` are trained on, all of them where it is 0.

    Raises:
      UserError: the dataset cannot be had, a file is damaged, or there are not that many images.
    """
    if config.name == "digits":
        train, test = _digits()
        labels = tuple("0123456789")
    else:
        train, test = _fashion_mnist(_find(config.directory))
        labels = _FASHION
    if config.validation == "test":
        return Splits(_first(train, config), test, test, labels)
    total = len(train[1])
    held_out = config.validation if isinstance(config.validation, int) else round(config.validation * total)
    if not 0 < held_out < total:
        raise UserError(
            f"config.data.validation={config.validation} is not allowed: of the {total} training images of "
            f"{config.name}, at least one must be held out and at least one left"
        )
    kept = total - held_out
    return Splits(
        _first((train[0][:kept], train[1][:kept]), config),
        (train[0][kept:], train[1][kept:]),
        test,
        labels,
    )


def _first(train: tuple[np.ndarray, np.ndarray], config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    count = config.train_size or len(train[1])
    if count > len(train[1]):
        raise UserError(
            f"config.data.train_size={count} is not allowed: there are {len(train[1])} images of {config.name} to "
            "train on; 0 takes them all"
        )
    return train[0][:count], train[1][:count]


def _find(directory: str) -> dict[str, bytes]:
    """Returns the four verified files from the first place that has any; downloads them where none has."""
    if directory and not pathlib.Path(directory).expanduser().is_dir():
        raise UserError(f"config.data.directory={directory!r} is not allowed: there is no such folder")
    named = [pathlib.Path(place).expanduser() for place in (directory, os.environ.get("GNEXP_DATA_DIR")) if place]
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
        import keras  # Costs seconds, and only a download needs it.

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # A network that swallows packets would hold the training up for ever.
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
            f"Fashion-MNIST cannot be had ({why}; {error}): put {', '.join(_FILES)} into a folder and name it with "
            "--config.data.directory or $GNEXP_DATA_DIR"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def _fashion_mnist(files: dict[str, bytes]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    def images(name: str) -> np.ndarray:
        return np.frombuffer(gzip.decompress(files[name]), np.uint8, offset=16).reshape(-1, *SHAPE)

    def labels(name: str) -> np.ndarray:
        return np.frombuffer(gzip.decompress(files[name]), np.uint8, offset=8).astype(np.int32)

    return tuple(
        (images(f"{split}-images-idx3-ubyte.gz"), labels(f"{split}-labels-idx1-ubyte.gz"))
        for split in ("train", "t10k")
    )


def _digits() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns training and test digits, every class in the same share in both."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    small, labels = load_digits(return_X_y=True)
    images = np.stack(
        [
            np.asarray(Image.fromarray(image).resize(SHAPE[:2], Image.Resampling.BILINEAR))
            for image in (small.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
        ]
    )[..., np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels.astype(np.int32), test_size=0.2, random_state=0, stratify=labels
    )
    return (train_x, train_y), (test_x, test_y)
