"""Confidence intervals and significance tests for a few values."""

import functools
from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval95(values: Sequence[float]) -> float | None:
    """Returns half the width of the 95% interval of a mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    # SciPy's own `sem` takes a hundred times as long, which counts for thousands of trials.
    return float(_t(len(values) - 1) * (np.std(values, ddof=1) / np.sqrt(len(values))))


@functools.cache
def _t(freedom: int) -> float:
    return stats.t.ppf(0.975, freedom)


def prediction95(values: Sequence[float]) -> float:
    """Returns half the width of the 95% interval of one more value, by Student's t, given two values or more."""
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) * (1 + 1 / len(values)) ** 0.5)


def paired_p(paired: Sequence[float]) -> float:
    """Returns the two-sided p value of a t test that the differences have the mean 0; 1 if they have no spread."""
    return float(stats.ttest_1samp(paired, 0).pvalue) if has_spread(paired) else 1.0


def has_spread(values: Sequence[float]) -> bool:
    """Tells whether the values are not all the same."""
    return max(values) > min(values)


def holm(values: Sequence[float]) -> list[float]:
    """Returns p values after Holm's correction (1979) for their number."""
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected
