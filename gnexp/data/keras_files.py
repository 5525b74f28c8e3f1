"""The files of Keras's own datasets: found on this machine or downloaded, and never used with a wrong checksum."""

import hashlib
import os
import pathlib
import socket
from collections.abc import Sequence

from gnexp.data.splits import UnavailableError
from gnexp.errors import UserError
from gnexp.terminal import places
from gnexp.terminal.stderr import native_stderr

_VARIABLE = "GNEXP_DATA_DIR"
KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # of keras.datasets


def folders(directory: str, below: Sequence[str]) -> list[pathlib.Path]:
    """Returns where a dataset's files may be, in this order: the folders that are named, then Keras's cache.

    Args:
      directory: a config's `data.directory`.
      below: the names of the folders that hold them, within those.
    """
    return [folder / name for folder in [*named(directory), cache()] for name in ("", *below)]


def named(directory: str) -> list[pathlib.Path]:
    """Returns the folders that a config's `data.directory` and $GNEXP_DATA_DIR name."""
    given = {"config.data.directory": directory, _VARIABLE: os.environ.get(_VARIABLE)}
    return [places.expanded(name, place) for name, place in given.items() if place]


def cache() -> pathlib.Path:
    """Returns the folder in which Keras keeps its datasets."""
    return pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras", "datasets")


def verified(path: pathlib.Path, expected: str) -> bytes:
    """Returns what a file holds.

    Args:
      path: the file.
      expected: its MD5 or SHA-256 sum, told apart by their lengths.

    Raises:
      UserError: it cannot be read, or has another sum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    kind = "MD5" if len(expected) == 32 else "SHA-256"
    make = hashlib.md5 if kind == "MD5" else hashlib.sha256
    found = make(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise UserError(f"{path} is damaged: its {kind} sum is {found}, it should be {expected}")
    return content


def download(dataset: str, files: dict[str, tuple[str, str]], below: str, why: str) -> list[pathlib.Path]:
    """Downloads files into Keras's cache, and returns their paths.

    Args:
      dataset: its name in words.
      files: the address and the sum of each, by its name.
      below: the folder of the cache that gets them.
      why: why they are not used from this machine, in words.

    Raises:
      UnavailableError: a download fails.
    """
    with native_stderr(pathlib.Path(os.devnull)):
        import keras  # Takes seconds, and only a download needs it.

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # A network that drops packets would block the training forever.
    try:
        folder = f"datasets/{below}" if below else "datasets"
        return [
            pathlib.Path(keras.utils.get_file(name, origin=address, cache_subdir=folder, file_hash=digest))
            for name, (address, digest) in files.items()
        ]
    except Exception as error:  # get_file raises plain Exception, among others.
        raise UnavailableError(
            f"{dataset} is not available ({why}; {error}): put {', '.join(files)} into a folder and name it with "
            "--config.data.directory or $GNEXP_DATA_DIR"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def elsewhere(directory: str) -> str:
    """Returns in words that a dataset is not where it was looked for."""
    return "; ".join(f"it is not in {place}" for place in [*named(directory), cache()])
