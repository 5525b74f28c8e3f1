"""Arrays in an .npz file, or in a folder of .npy files."""

import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gnexp.errors import UserError, first_line

_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_LABELS = ("labels", "class_names")


def read(path: str) -> Mapping[str, Any]:
    """Returns arrays as a dataset's function does.

    Args:
      path: an .npz file, or a folder of .npy files, with the arrays `x_train` and `y_train`, and if there are such
        `x_test`, `y_test`, `x_validation` (or `x_val`) and `y_validation`; `w_train` and so on are sample weights;
        `labels` or `class_names` are names of classes. The files of a folder are read when they are needed.

    Raises:
      UserError: there is no such file or folder, it is damaged, or lacks an array.
    """
    place = pathlib.Path(path)
    if place.is_dir():
        files = {each.stem: each for each in sorted(place.glob("*.npy"))}
        return _splits(place, files, lambda name: _mapped(files[name]))
    if place.is_file() and not zipfile.is_zipfile(place):
        raise UserError(f"{place} is no .npz file: it must be one, or a folder of .npy files")
    try:
        with np.load(place) as archive:
            return _splits(place, archive, archive.__getitem__)
    except FileNotFoundError as error:
        raise UserError(f"config.data.args.path={path!r} is not allowed: there is no such file or folder") from error
    except UserError:
        raise
    except Exception as error:  # of zipfile, zlib, lzma and NumPy
        raise _damaged(place, error) from error


def _damaged(path: pathlib.Path, error: Exception) -> UserError:
    if "allow_pickle" in str(error):
        return UserError(f"{path} holds Python objects: its arrays must be of numbers")
    return UserError(f"{path} cannot be read: {first_line(error)}")


def _mapped(path: pathlib.Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, error) from error


def _splits(place: pathlib.Path, there: Mapping[str, Any], get: Callable[[str], np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for split, names in _NAMES.items():
        name = next((name for name in names if f"x_{name}" in there), None)
        if name is None:
            continue
        if f"y_{name}" not in there:
            raise UserError(f"{place} has x_{name}, and no y_{name}")
        parts = [f"x_{name}", f"y_{name}", *([f"w_{name}"] if f"w_{name}" in there else [])]
        found[split] = tuple(map(get, parts))
    if "train" not in found:
        has = ", ".join(there) or "no arrays"
        raise UserError(f"{place} has {has}: it must have x_train and y_train")
    if names := next((name for name in _LABELS if name in there), None):
        found["labels"] = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in get(names).tolist())
    return found
