"""Looks at the comparisons of a race after each seed: which are closed, and what further seeds may tell.

A comparison is closed once it is decided, once it is closer than the precision, or once its further seeds would hardly
close it. Looking after each seed and stopping at the first p below 0.05 would find differences that are none:
`intervals.spent` divides the 5% between the looks, so that all of them together err no more often than one test. The
spread is taken over all settings with several seeds (`intervals.Spread`), and p is after Holm's correction.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy import stats

from gnexp.analysis import intervals

# A comparison that all further seeds together are less likely to close than this gets none.
_FUTILE = 0.25
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at a comparison.

    Attributes:
      decided: whether the difference is more than chance.
      close: whether it is less than the precision.
      chances: for each further seed, how likely the comparison is closed with it, if it goes on as so far.
    """

    decided: bool
    close: bool
    chances: Sequence[float]

    @property
    def open(self) -> bool:
        """Whether further seeds are worth their time."""
        return not (self.decided or self.close) and max(self.chances, default=0.0) >= _FUTILE


def looks(
    scores: Mapping[Hashable, np.ndarray],
    pairs: Sequence[tuple[Hashable, Hashable]],
    seeds: int,
    precision: float,
    among: int | None = None,
) -> list[Look]:
    """Returns a look at each comparison.

    Args:
      scores: of each setting that was trained for all epochs, by seed.
      pairs: the comparisons, each of two settings.
      seeds: how many each setting may have.
      precision: a difference below this is none.
      among: how many comparisons p is corrected for; by default their number.
    """
    counts = [min(len(scores[one]), len(scores[other])) for one, other in pairs]
    found = [Look(False, False, [1.0] * (seeds - count)) for count in counts]
    several = [place for place, count in enumerate(counts) if count > 1]
    if not several:
        return found
    places = {name: place for place, name in enumerate(name for name, each in scores.items() if len(each) > 1)}
    spread = intervals.Spread([scores[name] for name in places])
    means, variances, freedoms = np.array([_difference(scores, *pairs[place], spread, places) for place in several]).T
    have = np.array([counts[place] for place in several])
    errors = np.maximum(np.sqrt(variances / have), _TINY)
    among = len(several) + (0 if among is None else among - len(pairs))
    p = intervals.holm((2 * stats.t.sf(means / errors, freedoms)).tolist(), among)
    decided = [chance <= intervals.spent(count, seeds) for count, chance in zip(have, p, strict=True)]
    close = means + stats.t.ppf(0.975, freedoms) * errors <= precision
    undecided = among - sum(decided)
    for index, place in enumerate(several):
        chances: Sequence[float] = ()
        if not decided[index] and not close[index]:
            more = np.arange(have[index] + 1, seeds + 1)
            levels = np.array([intervals.spent(look, seeds) for look in more]) / undecided
            freedom = freedoms[index] + more - have[index]
            chances = _chances(means[index], variances[index], freedom, have[index], more, levels, precision)
        found[place] = Look(bool(decided[index]), bool(close[index]), chances)
    return found


def _difference(
    scores: Mapping[Hashable, np.ndarray],
    one: Hashable,
    other: Hashable,
    spread: intervals.Spread,
    places: Mapping[Hashable, int],
) -> tuple[float, float, float]:
    """Returns how large a difference is, its variance with one seed, and the degrees of freedom of that."""
    count = min(len(scores[one]), len(scores[other]))
    return abs(np.mean(scores[other][:count] - scores[one][:count])), *spread.of_difference(places[one], places[other])


def _chances(
    mean: float,
    variance: float,
    freedom: np.ndarray,
    count: int,
    more: np.ndarray,
    levels: np.ndarray,
    precision: float,
) -> list[float]:
    """Returns how likely a comparison is closed at each of the numbers of seeds `more`."""
    ahead, spread = np.sqrt(variance / more), np.sqrt(variance * (more - count)) / more
    to_decide = stats.t.ppf(1 - levels / 2, freedom) * ahead
    to_be_close = precision - stats.t.ppf(0.975, freedom) * ahead
    return stats.norm.cdf(np.maximum(mean - to_decide, to_be_close - mean) / np.maximum(spread, _TINY)).tolist()
