"""Confidence intervals and significance tests for a few values, and how an interval is said."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, special, stats

from gnexp.config.objective import ANYTHING

_SMALL, _LARGE = 5e-5, 1e6  # numbers between these are given with four decimals
_FAR = 30  # times the typical variance, above which a trial says less of the seeds than others
_TINY = 1e-30
_ROUNDS = 20  # after which the means of trials and seeds are taken out, also where trials lack seeds
_POWER, _MOST_SEEDS = 0.8, 1000
_FEW = 6  # trials, below which they say too little of how unlike their variances are (simulated)
_UNLIKE = 0.05  # the level of the test that finds the variances of few trials unlike
_MANY = 1e9  # degrees of freedom, as good as infinitely many
_LEAST = 1e-5  # a variance below this share of the others is taken for one of rounded figures


def interval95(values: Sequence[float]) -> float | None:
    """Returns half the width of the 95% interval of a mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    # SciPy's own `sem` takes a hundred times as long, which counts for thousands of trials.
    return float(_t(len(values) - 1) * (np.std(values, ddof=1) / np.sqrt(len(values))))


@functools.cache
def _t(freedom: int) -> float:
    return stats.t.ppf(0.975, freedom)


def ends(mean: float, half: float, bounds: tuple[float, float] = ANYTHING) -> tuple[float, float]:
    """Returns the two ends of an interval, which is cut off at what its figure can be.

    Args:
      mean: its middle.
      half: half its width.
      bounds: of the figure (`objective.bounds`). A mean outside of them is of another figure of the same name: a user's
        `accuracy` in percent, or a loss of the user's that may be negative. Nothing is then cut off.
    """
    low, high = bounds if bounds[0] <= mean <= bounds[1] else ANYTHING
    return max(mean - half, low), min(mean + half, high)


def bounds_of_difference(bounds: tuple[float, float]) -> tuple[float, float]:
    """Returns what the difference of two figures with these bounds can be."""
    low, high = bounds
    return low - high, high - low


def with_spread(
    mean: float | None,
    half: float | None,
    bounds: tuple[float, float] = ANYTHING,
    over: str = "seeds",
    sign: str = "-",
) -> str:
    """Returns a mean with its 95% interval in words, "" for None; `static/words.js` has the same for the tab.

    An interval that is cut off is given by its two ends. One that holds all that the figure can be says nothing.

    Args:
      mean: the mean.
      half: half the width of its interval; None if there is none.
      bounds: of the figure (`objective.bounds`).
      over: what there are too few of where the interval says nothing.
      sign: "+" shows the sign of a difference that is positive, too.
    """
    if mean is None:
        return ""
    # Of a loss of any size, four decimals may be nothing but zeros, or come after dozens of digits.
    scale = max(abs(mean), half or 0)
    digits = ".4f" if scale == 0 or _SMALL <= scale < _LARGE or not math.isinf(bounds[1] - bounds[0]) else ".3g"
    said = f"{mean:{sign}{digits}}"
    if half is None:
        return said
    low, high = ends(mean, half, bounds)
    cut = low > mean - half, high < mean + half
    if all(cut):
        return f"{said} (too few {over})"
    if not any(cut):
        return f"{said} \N{PLUS-MINUS SIGN} {half:{digits}}"
    below, above = (
        f"{end:{sign}{'g' if at_bound else digits}}" for end, at_bound in zip((low, high), cut, strict=True)
    )
    return f"{said} ({below} to {above})"


def prediction95(values: Sequence[float]) -> float:
    """Returns half the width of the 95% interval of one more value, by Student's t, given two values or more."""
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) * (1 + 1 / len(values)) ** 0.5)


def has_spread(values: Sequence[float]) -> bool:
    """Tells whether the values are not all the same."""
    return max(values) > min(values)


def holm(values: Sequence[float], among: int | None = None) -> list[float]:
    """Returns p values after Holm's correction (1979) for their number, or as some `among` so many."""
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, ((among or len(values)) - rank) * values[place]))
        corrected[place] = highest
    return corrected


class Spread:
    """How far seeds lie apart in the trials of a sweep, taken together as far as they are alike.

    The variance of two or three figures is mostly chance. What a seed does to all trials is taken out first, because
    trials are compared with the same seeds: what is left of each trial are its residuals. Their variances are shrunk
    towards what they have in common, by the empirical Bayes estimate of limma (Smyth 2004): it takes the true variances
    as draws from a scaled inverse chi-square distribution, which it fits to all. The more alike they are, the more each
    counts the others.

    Args:
      figures: of each trial one figure by seed, of the first seeds, two or more.
    """

    def __init__(self, figures: Sequence[Sequence[float]]):
        counts = np.array([len(each) for each in figures])
        residuals, there, self._effects = _residuals(figures, counts)
        seeds = int(there.any(axis=0).sum())
        self._total = max(1, int(counts.sum()) - len(counts) - (seeds - 1))
        self._own = (counts - 1) * self._total / max(1, (counts - 1).sum())
        self._found = (residuals**2).sum(axis=1) / self._own
        self._shrunk, self._prior = _shrunk(self._found, self._own)

    def of_difference(self, one: int, other: int) -> tuple[float, float]:
        """Returns the variance of a difference of two trials with one seed, and its degrees of freedom."""
        a, b = self._found[one], self._found[other]
        both = a**2 / self._own[one] + b**2 / self._own[other]
        own = (a + b) ** 2 / both if both > 0 else self._own[one] + self._own[other]  # Welch and Satterthwaite
        return float(self._shrunk[one] + self._shrunk[other]), float(min(self._prior + own, self._total))

    def of_differences(self, pairs: Sequence[tuple[int, int]]) -> tuple[float, float]:
        """Returns as `of_difference`, of the mean of the differences of several pairs, each trial being in one."""
        found = np.array([self.of_difference(*pair) for pair in pairs])
        variance = found[:, 0].sum()
        freedom = variance**2 / (found[:, 0] ** 2 / found[:, 1]).sum() if variance > 0 else found[:, 1].sum()
        return float(variance / len(pairs) ** 2), float(min(freedom, self._total))

    def half_width(self, place: int, seeds: int) -> float:
        """Returns half the width of the 95% interval of a trial's mean over its seeds.

        What a seed does to all trials counts here, and is known from these seeds alone.
        """
        common = float(np.var(self._effects[:seeds], ddof=1))
        own = float(self._shrunk[place]) * (1 - 1 / len(self._shrunk))
        freedom = min(self._prior + self._own[place], self._total)
        both = common**2 / (seeds - 1) + own**2 / freedom
        return half_width(np.sqrt((own + common) / seeds), (own + common) ** 2 / both) if both > 0 else 0.0


def half_widths(figures: Sequence[Sequence[float]]) -> list[float | None]:
    """Returns half the width of each trial's 95% interval of its mean, by `Spread`; None with fewer than two seeds."""
    several = [each for each in figures if len(each) > 1]
    if not several:
        return [None] * len(figures)
    spread, places = Spread(several), itertools.count()
    return [spread.half_width(next(places), len(each)) if len(each) > 1 else None for each in figures]


def _residuals(figures: Sequence[Sequence[float]], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the figures without what their trial and their seed add, where there are some, and what seeds add."""
    there = np.arange(counts.max()) < counts[:, None]
    left = np.zeros(there.shape)
    left[there] = np.concatenate([np.asarray(each, float) for each in figures])
    # A trial of which some seeds diverged would otherwise say what each seed does to all.
    polished = np.where(there, left, np.nan)
    for _ in range(3):
        polished -= np.nanmedian(polished, axis=1, keepdims=True)
        polished -= np.nanmedian(polished, axis=0)
    squares = np.nansum(polished**2, axis=1) / np.maximum(1, counts - 1)
    weights = there / np.maximum(1, squares / max(_FAR * np.median(squares), _TINY))[:, None]
    effects = np.zeros(there.shape[1])
    for _ in range(_ROUNDS):
        left -= left.sum(axis=1, keepdims=True) / counts[:, None] * there
        more = (left * weights).sum(axis=0) / weights.sum(axis=0)
        left -= more * there
        effects += more
    return left, there, effects


def _shrunk(variances: np.ndarray, freedoms: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns variances shrunk towards what they have in common, and as how many degrees of freedom that counts."""
    common = float((variances * freedoms).sum() / freedoms.sum())
    few = len(variances) < _FEW and not _unlike(variances, freedoms, common)
    if len(variances) < 3 or few or not common > 0:  # Of two trials, both have the same residuals.
        return np.full(len(variances), common), np.inf
    floored = np.maximum(variances, _LEAST * np.median(variances[variances > 0]))
    logs = np.log(floored) - special.digamma(freedoms / 2) + np.log(freedoms / 2)
    spread = np.var(logs, ddof=1) - np.mean(special.polygamma(1, freedoms / 2))
    if spread <= _LEAST:
        return np.full(len(variances), common), np.inf
    prior = 2 * float(optimize.brentq(lambda x: special.polygamma(1, x) - spread, 1e-8, 1e8))
    center = np.exp(np.mean(logs) + special.digamma(prior / 2) - np.log(prior / 2))
    return (prior * center + freedoms * floored) / (prior + freedoms), prior


def _unlike(variances: np.ndarray, freedoms: np.ndarray, common: float) -> bool:
    """Tells whether variances differ by more than chance, by Bartlett's test (1937)."""
    total, count = freedoms.sum(), len(variances)
    if count < 2 or not common > 0 or freedoms.max() < 1:  # Two seeds cannot tell.
        return False
    floored = np.maximum(variances, _LEAST * common)
    statistic = total * np.log(common) - (freedoms * np.log(floored)).sum()
    scale = 1 + ((1 / freedoms).sum() - 1 / total) / (3 * (count - 1))
    return float(stats.chi2.sf(statistic / scale, count - 1)) < _UNLIKE


def half_width(error: float, freedom: float) -> float:
    """Returns half the width of a 95% interval, by Student's t, given the standard error."""
    # SciPy's distribution takes fifty times as long, which counts for thousands of trials.
    return float(special.stdtrit(min(freedom, _MANY), 0.975) * error)


def two_sided_p(value: float, error: float, freedom: float) -> float:
    """Returns the two-sided p of a value being 0, by Student's t, given its standard error; 1 without an error."""
    return float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 0 else 1.0


def seeds_needed(
    difference: float,
    variance: float,
    freedom: float,
    level: Callable[[np.ndarray], np.ndarray],
    fewest: int = 2,
) -> int | None:
    """Returns how many seeds tell a difference from 0 with a chance of 80%; None if a thousand are too few.

    The power of Student's t test, by its noncentral distribution (Cohen 1988, chapter 2).

    Args:
      difference: the true one.
      variance: of the difference with one seed.
      freedom: the degrees of freedom that each seed after the first adds to the variance.
      level: returns the level of the test for numbers of seeds.
      fewest: what it is at least.
    """
    seeds = np.arange(fewest, _MOST_SEEDS + 1)
    freedoms = freedom * (seeds - 1)
    needed = stats.t.isf(level(seeds) / 2, freedoms)
    power = stats.nct.sf(needed, freedoms, abs(difference) * np.sqrt(seeds / variance))
    enough = np.flatnonzero(power >= _POWER)
    return int(seeds[enough[0]]) if len(enough) else None


def spent(look: int, looks: int, level: float = 0.05) -> float:
    """Returns the level of one look, so that all looks together find a difference that is none with `level` at most.

    The level grows as the square of the share of the seeds (Lan and DeMets 1983, with the power family of Kim and
    DeMets 1987), and each look has what it adds. Their sum bounds the error, however the looks depend on each other.

    Args:
      look: how many seeds there are, 2 or more.
      looks: how many there may be.
      level: of all looks together.
    """
    before = 0 if look <= 2 else ((look - 1) / looks) ** 2
    return level * ((look / looks) ** 2 - before)
