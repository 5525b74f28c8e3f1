"""Parts of a training's state, which is checked before a training resumes from it."""

from collections.abc import Mapping
from typing import TypedDict

import keras
import numpy as np


class PlateauState(TypedDict):
    """The state of keras.callbacks.ReduceLROnPlateau."""

    best: float | None
    wait: int
    cooldown_counter: int


PLATEAU = tuple(PlateauState.__annotations__)


def check_arrays(arrays: Mapping[str, np.ndarray], expected: Mapping[str, keras.Variable]) -> None:
    """Checks that saved arrays are those of a training's variables, which have the same names.

    Raises:
      ValueError: one is missing or unknown, or its shape or dtype is another.
    """
    if different := arrays.keys() ^ expected.keys():
        raise ValueError(f"{min(different)} is missing, or not of this training")
    for name, variable in expected.items():
        array, dtype = arrays[name], keras.backend.standardize_dtype(variable.dtype)
        if array.shape != tuple(variable.shape) or not np.can_cast(array.dtype, dtype, "same_kind"):
            raise ValueError(f"{name} is {array.dtype}{array.shape}, and not {dtype}{tuple(variable.shape)}")
