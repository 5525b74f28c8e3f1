"""Intervals of differences against simulated sweeps: how often they hold the truth, and find what is not there."""

import numpy as np
import pytest
from scipy import stats

from gnexp.analysis.intervals import Spread, half_width, holm, two_sided_p

pytestmark = pytest.mark.any_backend


def test_of_two_trials_it_is_the_paired_t_test():
    one, other = np.random.default_rng(0).normal(0, 1, (2, 5))
    variance, freedom = Spread([one, other]).of_difference(0, 1)
    expected = stats.ttest_rel(other, one)
    assert two_sided_p(np.mean(other - one), (variance / 5) ** 0.5, freedom) == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert half_width((variance / 5) ** 0.5, freedom) == pytest.approx((high - low) / 2)


def test_the_spread_of_trials_that_are_alike_is_that_of_an_analysis_of_variance():
    # Columns of one length after centering, so that the trials' variances are all the same.
    figures = np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 1.0], [4.0, 1.0, 2.0]])
    residuals = figures - figures.mean(axis=1, keepdims=True) - figures.mean(axis=0) + figures.mean()
    variance, freedom = Spread(figures).of_difference(0, 2)
    assert variance == pytest.approx(2 * (residuals**2).sum() / 4) and freedom == pytest.approx(4)


def test_what_a_seed_does_to_all_trials_does_not_count():
    figures = np.random.default_rng(1).normal(0, 1, (6, 4))
    shifted = figures + np.array([0.0, 5.0, -3.0, 1.0])
    assert Spread(shifted).of_difference(0, 3) == pytest.approx(Spread(figures).of_difference(0, 3))


def _covered(sweeps, trials, seeds, unlike, rng):
    """Returns the share of 95% intervals that hold the truth, and of sweeps in which Holm finds what is not there."""
    held, wrong = [], 0
    for _ in range(sweeps):
        deviations = np.exp(rng.normal(0, unlike, (trials, 1)))
        figures = rng.normal(0, deviations, (trials, seeds)) + rng.normal(0, 1, seeds)
        spread, p = Spread(figures), []
        for other in range(1, trials):
            variance, freedom = spread.of_difference(0, other)
            mean, error = np.mean(figures[other] - figures[0]), (variance / seeds) ** 0.5
            held.append(abs(mean) <= half_width(error, freedom))
            p.append(two_sided_p(mean, error, freedom))
        wrong += min(holm(p)) <= 0.05
    return np.mean(held), wrong / sweeps


def test_intervals_hold_the_truth_and_little_is_found_where_nothing_differs():
    held, wrong = _covered(300, 6, 3, 0.3, np.random.default_rng(2))
    assert 0.93 - 0.02 <= held <= 0.97 + 0.02 and wrong <= 0.05 + 0.04


@pytest.mark.slow
@pytest.mark.parametrize("unlike", [0.0, 0.3])  # of the trials' standard deviations, as a standard deviation of logs
@pytest.mark.parametrize("trials", [2, 4, 8, 20])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_ten_thousand_sweeps_93_to_97_percent_of_the_intervals_hold_the_truth(seeds, trials, unlike):
    sweeps = 10_000 if trials < 20 else 2_000
    held, wrong = _covered(sweeps, trials, seeds, unlike, np.random.default_rng(3))
    print(f"{seeds} seeds, {trials} trials, {unlike}: held {held:.4f}, wrong {wrong:.4f}")
    assert 0.93 <= held <= 0.97
    assert wrong <= 0.06
