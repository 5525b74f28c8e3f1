"""Hyperparameters as columns of numbers, for models of a sweep's trials."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnexp.space.domain import in_order, is_numeric
from gnexp.space.space import Space

_TRIALS = 4  # for each column, below which the intervals of a Gaussian process are too narrow: they were simulated


def fewest(space: Space, tuner: str) -> int:
    """Returns how many completed trials a model of a sweep takes."""
    columns = int(tuner == "hyperband")  # the epochs of a trial
    for path in space.searched:
        values = [value for entry in space.of(path) for value in entry.values or (entry.low, entry.high)]
        columns += 1 if all(map(is_numeric, values)) else len(_kinds(values))
    return _TRIALS * columns


def coded(known: Sequence[Any], values: Sequence[Any]) -> np.ndarray:
    """Returns values as columns from 0 to 1, of shape (len(values), columns).

    Args:
      known: the values of a hyperparameter in all trials, None where a trial has none.
      values: some of them. Numbers become their rank, others as many columns as say which one they are.
    """
    there = [value for value in known if value is not None]
    if all(map(is_numeric, there)):
        highest = max(1, len(set(there)) - 1)
        placed = dict(zip(known, ranks(known), strict=True))
        return np.array([[0.5 if value is None else placed[value] / highest] for value in values])
    kinds = _kinds(there)
    return np.array([[float(value == kind) for kind in kinds] for value in values])


def _kinds(values: Sequence[Any]) -> list[Any]:
    found = sorted(set(values), key=str)
    return found[1:] if len(found) == 2 else found  # What is not the second of two is the first.


def ranks(values: Sequence[Any]) -> list[int]:
    """Returns the rank of each value, -1 for None. A tree only uses the order of numbers."""
    # Numbers by their size: -1 is the lowest here.
    known = sorted({value for value in values if value is not None}, key=lambda value: in_order(value)[::2])
    place = {value: rank for rank, value in enumerate(known)}
    return [-1 if value is None else place[value] for value in values]
