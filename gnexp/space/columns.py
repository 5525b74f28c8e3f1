"""A search space as columns of TensorBoard's HParams dashboard."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from gnexp.space.entries import FIXED
from gnexp.space.space import Space


@dataclasses.dataclass(frozen=True)
class Column:
    """One hyperparameter as the HParams dashboard shows it.

    Attributes:
      name: the column's title.
      values: all values that it can hold, or the two ends if `interval` is true.
      interval: whether it can hold anything between the two ends.
      differs: whether the sweep varies it, so that it is shown first.
    """

    name: str
    values: tuple
    interval: bool = False
    differs: bool = False


def _exponent_name(path: str) -> str:
    return f"log10({path})"


def columns(space: Space, hparams: Mapping[str, Any], first: Mapping[str, Any] | None = None) -> list[Column]:
    """Returns the dashboard's columns.

    Args:
      space: the sweep's search space.
      hparams: every hyperparameter of the sweep's own config (`hparams.of`); those that are not searched become
        columns of one value.
      first: the values of the first trial, where the space may lack them; the dashboard hides what no column allows.
    """
    first = first or {}
    found = []
    paths, varied = space.paths, space.searched
    for path, value in hparams.items():
        if path not in paths:
            found.append(Column(path, (value,)))
            continue
        searched = path in varied
        # TensorBoard shows only five columns that differ, and the exponent makes the better axis.
        more = (first[path],) if path in first else ()
        found.append(_column(space, path, more, differs=searched and not _has_exponent(space, path)))
        if _has_exponent(space, path):
            low, high = _column(space, path, tuple(value for value in more if value > 0)).values
            found.append(Column(_exponent_name(path), (math.log10(low), math.log10(high)), True, searched))
    return found


def row(space: Space, values: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Returns the columns' values for a trial with `values`, which may lack paths that the trial does not search."""
    hparams = {}
    for path in space.paths:
        hparams[path] = values[path] if path in values else _absence(space, path)
        if _has_exponent(space, path):
            low = _column(space, path).values[0]
            has_one = values.get(path, 0) > 0  # The config's own value may be 0.
            hparams[_exponent_name(path)] = (
                math.log10(values[path]) if has_one else float(math.floor(math.log10(low)) - 1)
            )
    return hparams


def _has_exponent(space: Space, path: str) -> bool:
    entries = space.of(path)
    return any(entry.kind == "float" and entry.sampling == "log" for entry in entries) and all(
        entry.sampling == "log" or (entry.kind == FIXED and entry.values[0] > 0) for entry in entries
    )


def _column(space: Space, path: str, more: tuple = (), differs: bool = False) -> Column:
    entries = space.of(path)
    if space.listed(path):
        values = tuple(dict.fromkeys([*(value for entry in entries for value in entry.values), *more]))
        if _absent_somewhere(space, path):
            values = tuple(dict.fromkeys((_absence(space, path), *values)))
        return Column(path, values, differs=differs)
    ends = [end for entry in entries for end in (entry.values or (entry.low, entry.high))]
    return Column(path, (min(*ends, *more), max(*ends, *more)), interval=True, differs=differs)


def _absent_somewhere(space: Space, path: str) -> bool:
    entries = space.of(path)
    if entries[0].when is None:
        return False
    covered = {value for entry in entries for value in entry.when[1]}
    return not covered.issuperset(space.of(entries[0].when[0])[0].values)


def _absence(space: Space, path: str) -> bool | int | float | str:
    """Returns what a column holds where the path is not searched: of the column's type, and outside its domain."""
    entries = space.of(path)
    ends = [end for entry in entries for end in (entry.values or (entry.low, entry.high))]
    if isinstance(ends[0], bool):
        return False
    if isinstance(ends[0], str):
        return "n/a"
    outside = 0 if min(ends) > 0 else min(ends) - 1
    return float(outside) if isinstance(ends[0], float) else outside
