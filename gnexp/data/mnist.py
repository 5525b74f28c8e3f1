"""MNIST (LeCun et al.), from Keras's `mnist.npz`."""

import io
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gnexp.data import keras_files

_FILE, _SHA256 = "mnist.npz", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


def check(directory: str) -> None:
    """Makes sure that the file is on this machine; raises UnavailableError if it cannot be downloaded either."""
    _find(directory)


def read(data_directory: str = "") -> Mapping[str, Any]:
    """Returns training and test images as a dataset's function does.

    Args:
      data_directory: a config's `data.directory`.

    Raises:
      UserError: the file is damaged, or not available.
    """
    with np.load(io.BytesIO(keras_files.verified(_find(data_directory), _SHA256))) as file:
        parts = {split: (file[f"x_{split}"], file[f"y_{split}"]) for split in ("train", "test")}
    return {**parts, "labels": tuple("0123456789")}


def _find(directory: str) -> pathlib.Path:
    for folder in keras_files.folders(directory, ["mnist"]):
        if (folder / _FILE).exists():
            return folder / _FILE
    wanted = {_FILE: (keras_files.KERAS + _FILE, _SHA256)}
    return keras_files.download("MNIST", wanted, "", keras_files.elsewhere(directory))[0]
