"""What inputs, targets and weights of any kind become: float32, int32, or images of uint8, one row an example."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnexp.errors import UserError, first_line


def stacked(values: Sequence[Any], where: str) -> np.ndarray:
    """Returns the inputs or targets of some examples as one array.

    Args:
      values: one for each example.
      where: the name of the examples in messages.

    Raises:
      UserError: their shapes differ.
    """
    arrays = [as_array(value, where) for value in values]
    for array in arrays:
        if array.shape != arrays[0].shape:
            raise UserError(
                f"{where} has examples of the shapes {arrays[0].shape} and {array.shape}: all must be alike"
            )
    return np.stack(arrays)


def as_inputs(values: Any, where: str) -> np.ndarray:
    """Returns inputs as a training takes them.

    uint8 images stay uint8, with a channel axis added where it is missing. All other inputs are converted to float32,
    the whole numbers of tables and sequences, too, which are no colours to be scaled.

    Args:
      values: array of shape (n, ...).
      where: the name of the examples in messages.

    Raises:
      UserError: they are no numbers, or images of another kind of integer.
    """
    array = _numbers(values, f"{where}: its inputs")
    if array.dtype == np.uint8 and array.ndim > 2:
        return array[..., np.newaxis] if array.ndim == 3 else array
    if array.dtype.kind in "iu" and array.ndim > 2:
        raise UserError(
            f"{where}: its inputs are {array.dtype} of the shape {array.shape}: images must be uint8, from 0 to 255, "
            "or floats from 0 to 1"
        )
    array = _float32(array, f"{where}: its inputs")
    return array[:, np.newaxis] if array.ndim == 1 else array


def as_targets(values: Any, where: str) -> np.ndarray:
    """Returns targets as a training takes them: whole numbers and truths as int32, others as float32.

    Args:
      values: array of shape (n, ...); whole numbers of shape (n, 1) become (n,), masks (n, h, w, 1) become (n, h, w).
      where: the name of the examples in messages.

    Raises:
      UserError: they are no numbers.
    """
    array = _numbers(values, f"{where}: its targets", "; the names of classes go into `labels`")
    if array.dtype.kind not in "iub":
        return _float32(array, f"{where}: its targets")
    if array.ndim in (2, 4) and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype.itemsize > 4 or array.dtype == np.uint32:
        wide = array[(array > np.iinfo(np.int32).max) | (array < np.iinfo(np.int32).min)]
        if wide.size:
            raise UserError(f"{where}: its targets hold {wide.flat[0]}, which is too large for a class")
    return array.astype(np.int32, copy=False)


def as_weights(values: Any, where: str) -> np.ndarray:
    """Returns sample weights as float32 of shape (n,).

    Args:
      values: array of shape (n,) or (n, 1).
      where: the name of the examples in messages.

    Raises:
      UserError: they are no number of 0 or more for each example.
    """
    array = _float32(_numbers(values, f"{where}: its sample weights"), f"{where}: its sample weights")
    array = array[:, 0] if array.shape[1:] == (1,) else array
    if array.ndim != 1:
        raise UserError(f"{where}: its sample weights have the shape {array.shape}: it must be ({len(array)},)")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise UserError(f"{where}: its sample weights must be numbers of 0 or more")
    return array


def as_array(values: Any, what: str) -> np.ndarray:
    """Returns values as an array; raises UserError for what is none, such as a list of lists of several lengths."""
    try:
        return np.asarray(values)
    except Exception as error:  # of NumPy, or of the user's class
        raise UserError(f"{what} are no array: {first_line(error)}") from error


def _float32(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind == "c":
        raise UserError(f"{what} are complex numbers: they must be real")
    with np.errstate(over="ignore"):  # What is too large becomes infinity, which is refused.
        return array.astype(np.float32, copy=False)


def _numbers(values: Any, what: str, more: str = "") -> np.ndarray:
    array = as_array(values, what)
    if array.dtype.kind not in "biufc":
        kind = "text" if array.dtype.kind in "US" else f"of the type {array.dtype}"
        raise UserError(f"{what} are {kind}: they must be numbers{more}")
    return array
