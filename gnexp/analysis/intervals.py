"""Intervals and tests: what a few values say of those that were not seen."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval95(values: Sequence[float]) -> float | None:
    """Returns half the width of the 95% interval of a mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def prediction95(values: Sequence[float]) -> float:
    """Returns how far from the mean of two values or more another of their kind is, at most, 95 times in 100."""
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) * (1 + 1 / len(values)) ** 0.5)


def paired_p(paired: Sequence[float]) -> float:
    """Returns the two-sided p value of differences whose true mean is 0."""
    return float(stats.ttest_1samp(paired, 0).pvalue) if has_spread(paired) else 1.0


def has_spread(values: Sequence[float]) -> bool:
    """Tells whether not all of some values are the same."""
    return max(values) > min(values)


def holm(values: Sequence[float]) -> list[float]:
    """Returns p values after Holm's correction for how many they are."""
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected
