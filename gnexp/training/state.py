"""Parts of a training's state, which is checked before a training resumes from it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypedDict

import keras
import msgspec
import numpy as np


class PlateauState(TypedDict):
    """The state of keras.callbacks.ReduceLROnPlateau."""

    best: float | None
    wait: int
    cooldown_counter: int


PLATEAU = tuple(PlateauState.__annotations__)


@dataclasses.dataclass
class Progress:
    """Where a training stands, apart from its variables; plain values that JSON gives back unchanged.

    Attributes:
      step: steps done in the current epoch.
      loss: the sum over its examples; added step by step, so that it does not depend on the steps in a call.
      sums: likewise of the examples' weights, and of the task's numbers; empty before the first step.
      epoch_seconds: time spent on the current epoch.
      history: the figures of each finished epoch.
      best_value, best_epoch: the objective's best value so far, and its epoch; None and 0 before the first has ended.
    """

    step: int = 0
    loss: float = 0.0
    sums: list[float] = dataclasses.field(default_factory=list)
    epoch_seconds: float = 0.0
    history: list[dict[str, int | float]] = dataclasses.field(default_factory=list)
    best_value: float | None = None
    best_epoch: int = 0


def upgraded(progress: Mapping[str, Any], batch: int) -> Mapping[str, Any]:
    """Returns a saved progress in today's form. Older versions only counted the correct images of a classification.

    Args:
      progress: as `Training.state` returned it, perhaps in an older version.
      batch: how many examples a step trains on. Only the last step may have fewer, and nothing is saved right after it.
    """
    step = progress.get("step")
    if "sums" in progress or "correct" not in progress or not isinstance(step, int):
        return progress
    kept = {key: value for key, value in progress.items() if key != "correct"}
    return {**kept, "sums": [step * batch, progress["correct"]] if step else []}


def checked(progress: Mapping[str, Any], steps: int, epochs: int, sums: int) -> tuple[Progress, PlateauState]:
    """Returns a saved progress, and the saved state of the plateau rule.

    Args:
      progress: as `Training.state` returned it.
      steps: the steps in an epoch.
      epochs: how many epochs there are at most.
      sums: how many sums an epoch adds up.

    Raises:
      ValueError: it is not of such a training.
    """
    if missing := ({field.name for field in dataclasses.fields(Progress)} | {"plateau"}) - progress.keys():
        raise ValueError(f"{min(missing)} is missing")
    found, plateau = msgspec.convert(progress, Progress), msgspec.convert(progress["plateau"], PlateauState)
    done = len(found.history)
    if (
        [epoch.get("epoch") for epoch in found.history] != list(range(1, done + 1))
        or len(found.sums) != (sums if found.step else 0)
        or not 0 <= found.step <= steps
        or not min(1, done) <= found.best_epoch <= done <= epochs
        or (found.best_value is None) != (done == 0)
    ):
        raise ValueError("its epochs or steps are not those of this training")
    return found, plateau


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
