"""Intervals of differences against simulated sweeps: how often they hold the truth, and find what is not there.

And how an interval is said, in a page and in the tab.
"""

import json
import math
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats

from gnexp.analysis.intervals import (
    Spread,
    bounds_of_difference,
    half_width,
    holm,
    seeds_needed,
    two_sided_p,
    with_spread,
)
from gnexp.config.objective import bounds

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[2]
# A mean, half the width of its interval, the figure, and what is said.
SAID = [
    (0.25, 0.8824, "val_accuracy", "0.2500 (too few seeds)"),
    (0.25, 0.2, "val_mean_iou", "0.2500 ± 0.2000"),
    (0.25, 0.4, "dice", "0.2500 (0 to 0.6500)"),
    (0.75, 0.4, "top_5_accuracy", "0.7500 (0.3500 to 1)"),
    (0.75, 0.4, "mse", "0.7500 ± 0.4000"),
    (0.75, 0.8, "val_loss", "0.7500 (0 to 1.5500)"),
    (0.75, 0.8, "r2", "0.7500 (-0.0500 to 1)"),
    (0.75, 0.8, "cosine_similarity", "0.7500 (-0.0500 to 1)"),
    (0.75, 0.8, "a_figure_of_ones_own", "0.7500 ± 0.8000"),
    (75.0, 30.0, "accuracy", "75.0000 ± 30.0000"),  # in percent: of a user's task
    (-0.5, 0.8, "loss", "-0.5000 ± 0.8000"),  # a user's loss
    (1.0, 0.0, "accuracy", "1.0000 ± 0.0000"),
    (0.5, None, "accuracy", "0.5000"),
    (None, None, "accuracy", ""),
]


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


def test_one_unstable_trial_of_few_does_not_spoil_the_others():
    rng = np.random.default_rng(5)
    figures = np.add([[0.84], [0.85], [0.87], [0.5]], rng.normal(0, 0.004, (4, 3)))
    figures[3] += [0.35, -0.4, 0.05]
    mean = np.mean(figures[2] - figures[0])
    variance, freedom = Spread(figures).of_difference(0, 2)
    assert half_width((variance / 3) ** 0.5, freedom) < mean
    alike = Spread(figures[:3])
    assert alike.of_difference(0, 1) == pytest.approx(alike.of_difference(1, 2))


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
@pytest.mark.parametrize("trials", [2, 3, 4, 8, 20])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_ten_thousand_sweeps_93_to_97_percent_of_the_intervals_hold_the_truth(seeds, trials, unlike):
    sweeps = 10_000 if trials < 20 else 2_000
    held, wrong = _covered(sweeps, trials, seeds, unlike, np.random.default_rng(3))
    print(f"{seeds} seeds, {trials} trials, {unlike}: held {held:.4f}, wrong {wrong:.4f}")
    assert 0.93 <= held <= 0.97
    assert wrong <= 0.06


def _found(sweeps, trials, seeds, difference, rng):
    """Returns in which share of sweeps Holm finds the one trial that differs from the first one."""
    found = 0
    for _ in range(sweeps):
        figures = rng.normal(0, 1, (trials, seeds)) + rng.normal(0, 1, seeds)
        figures[1] += difference
        spread, p = Spread(figures), []
        for other in range(1, trials):
            variance, freedom = spread.of_difference(0, other)
            p.append(two_sided_p(np.mean(figures[other] - figures[0]), (variance / seeds) ** 0.5, freedom))
        found += holm(p)[0] <= 0.05
    return found / sweeps


@pytest.mark.parametrize(("trials", "difference"), [(2, 1.5), (2, 3.0), (6, 1.5), (6, 2.5)])
def test_as_many_seeds_as_are_said_to_be_needed_find_a_difference_in_four_sweeps_of_five(trials, difference):
    # The variance of a difference is 2; all trials are alike, so that each seed adds a degree of freedom for each.
    level = 0.05 / (trials - 1)
    seeds = seeds_needed(difference, 2.0, trials - 1, lambda seeds: level + 0 * seeds)
    rng = np.random.default_rng(4)
    assert _found(400, trials, seeds, difference, rng) >= 0.8 - 0.06  # three standard errors
    assert _found(400, trials, seeds - 1, difference, rng) < 0.8 + 0.06


@pytest.mark.parametrize(("difference", "seeds"), [(0.3, 90), (0.5, 34), (0.8, 15)])
def test_the_seeds_needed_are_those_of_cohens_tables(difference, seeds):
    assert seeds_needed(difference, 1.0, 1, lambda seeds: 0.05 + 0 * seeds) == seeds


def test_some_differences_are_too_small_for_any_number_of_seeds():
    assert seeds_needed(0.01, 2.0, 5, lambda seeds: 0.05 + 0 * seeds) is None


@pytest.mark.parametrize(("mean", "half", "figure", "said"), SAID)
def test_an_interval_stays_inside_what_the_figure_can_be(mean, half, figure, said):
    assert with_spread(mean, half, bounds(figure)) == said


@pytest.mark.parametrize(
    ("mean", "half", "said"),
    [
        (0.02, 0.01, "+0.0200 ± 0.0100"),
        (-0.3, 0.9, "-0.3000 (-1 to +0.6000)"),
        (0.3, 0.9, "+0.3000 (-0.6000 to +1)"),
        (0.3, 1.9, "+0.3000 (too few seeds)"),
    ],
)
def test_so_does_that_of_a_difference(mean, half, said):
    assert with_spread(mean, half, bounds_of_difference(bounds("accuracy")), sign="+") == said
    assert "±" in with_spread(mean, half, bounds_of_difference(bounds("r2")), sign="+")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_tab_says_it_in_the_same_words():
    cases = [
        [mean, half, [end if math.isfinite(end) else None for end in bounds(figure)]] for mean, half, figure, _ in SAID
    ]
    script = (
        f"const {{ withSpread }} = await import({json.dumps((ROOT / 'gnexp/board/static/words.js').as_uri())});"
        f"console.log(JSON.stringify({json.dumps(cases)}.map((each) => withSpread(...each))));"
    )
    found = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(found.stdout) == [said for *_, said in SAID]
