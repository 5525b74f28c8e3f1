"""What an axis can show of a training's figures, whatever they are."""

import math
from collections.abc import Iterable

from matplotlib.axes import Axes

# matplotlib multiplies and subtracts what it draws, which must not overflow, and it tells no smaller ones apart.
_HUGE, TINY = 1e100, 1e-100
_FINEST = 1e-9  # as a part of the values


def drawable(values: Iterable[float]) -> list[float]:
    """Returns values with NaN, which leaves a gap, in place of what is infinite or too large to be drawn."""
    return [value if abs(value) < _HUGE else math.nan for value in values]


def known(values: Iterable[float]) -> list[float]:
    """Returns those of the values that can be drawn."""
    return [value for value in values if abs(value) < _HUGE]


def fit(axes: Axes, values: Iterable[float], share: float, least: float) -> None:
    """Fits the vertical axis to the values that can be drawn; without one, leaves it as it is.

    Args:
      axes: the picture.
      values: what it shows.
      share: the margin at either end, as a part of the span.
      least: the margin if all values are equal.
    """
    if found := known(values):
        low, high = min(found), max(found)
        span = high - low
        margin = max(share * span if span > TINY else least, _FINEST * max(abs(low), abs(high)))
        axes.set_ylim(low - margin, high + margin)
