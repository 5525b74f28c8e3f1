"""Bayesian optimization beside keras-tuner's own, NumPy and SciPy: the fit, the bound, and how good proposals are."""

import numpy as np
import pytest
import scipy.optimize
from keras_tuner.oracles import BayesianOptimizationOracle
from ml_collections import ConfigDict
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from threadpoolctl import threadpool_limits

from configs import fmnist_sweep
from gnexp.config.paths import nested
from gnexp.space import choice, floats
from gnexp.space.parse import parse_space
from gnexp.sweeps.oracles import bayesian
from gnexp.sweeps.oracles.create import create
from gnexp.sweeps.oracles.gaussian_process import GaussianProcess

pytestmark = pytest.mark.any_backend

_NOISE, _BETA = 1e-4, 2.6  # keras-tuner's
_PATHS = ("model.args.l2", "model.epsilon", "model.args.conv_dropout", "model.args.dense_dropout", "optimizer.momentum")


def _scored(seed, count, dimensions, noise=0.02):
    """Returns points in the unit cube, and scores with a minimum inside of it."""
    rng = np.random.default_rng(seed)
    points, best = rng.uniform(size=(count, dimensions)), rng.uniform(0.2, 0.8, dimensions)
    return points, np.sin(5 * ((points - best) ** 2).sum(1)) + rng.normal(0, noise, count)


def _matern(a, b, length):
    scaled = np.sqrt(5) * np.linalg.norm(a[:, np.newaxis] - b, axis=-1) / length
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


def test_the_bound_and_its_gradient_are_those_of_the_textbook():
    points, scores = _scored(0, 30, 3)
    process = GaussianProcess(points, scores, _NOISE, _BETA)
    length = process._gpr.kernel_.length_scale
    asked = np.random.default_rng(1).uniform(size=(20, 3))
    covariance = _matern(points, points, length) + _NOISE * np.eye(30)
    near = _matern(asked, points, length)
    mean = near @ np.linalg.solve(covariance, (scores - scores.mean()) / scores.std())
    variance = 1 - np.sum(near * np.linalg.solve(covariance, near.T).T, axis=1)
    expected = mean - _BETA * np.sqrt(variance)
    np.testing.assert_allclose(process.bound(asked), expected, rtol=1e-6)
    for point, value in zip(asked, expected, strict=True):
        bound, gradient = process.bound_and_gradient(point)
        assert bound == pytest.approx(value, rel=1e-6)
        numeric = scipy.optimize.approx_fprime(point, lambda x: process.bound(x[np.newaxis])[0], 1e-6)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("count", "dimensions", "noise"), [(4, 1, 0), (20, 2, 0.02), (60, 5, 0.5), (60, 1, 2)])
def test_the_length_scale_is_as_likely_as_that_of_twenty_one_descents(count, dimensions, noise):
    points, scores = _scored(count, count, dimensions, noise)
    scores = (scores - scores.mean()) / scores.std()
    plain = GaussianProcessRegressor(Matern(nu=2.5), alpha=_NOISE, n_restarts_optimizer=20, random_state=0)
    expected = plain.fit(points, scores).log_marginal_likelihood_value_
    found = GaussianProcess(points, scores, _NOISE, _BETA)._gpr.log_marginal_likelihood_value_
    assert found > expected - 1e-3


def test_equal_scores_are_no_trouble():
    process = GaussianProcess(np.random.default_rng(0).uniform(size=(5, 2)), np.full(5, 0.7), _NOISE, _BETA)
    assert np.isfinite(process.bound(process.lowest(np.random.RandomState(0)))).all()


def _config(dimensions):
    config = fmnist_sweep.get_config()
    config.sweep.tuner, config.sweep.max_trials = "bayesian", 1000
    space = {}
    for path in _PATHS[:dimensions]:
        space[path] = floats(0.1, 0.9)
    config.sweep.space = ConfigDict(nested(space))
    return config


def _ended(oracle, count, score):
    """Ends as many trials of an oracle, with `score` of their values."""
    for _ in range(count):
        trial = oracle.create_trial("tuner0")
        oracle.update_trial(trial.trial_id, {"val_accuracy": score(trial.hyperparameters.values)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)


def _compared(seed, count, dimensions):
    """Returns the bounds of the two proposals after some random trials: ours, keras-tuner's, by keras-tuner's fit."""
    config = _config(dimensions)
    config.sweep.seed = seed
    oracle = create(config, parse_space(config))
    rng = np.random.default_rng(seed)
    best, oracle.num_initial_points = rng.uniform(0.2, 0.8, dimensions), count

    def score(values):
        where = np.array([values[path] for path in _PATHS[:dimensions]])
        return -np.sin(5 * ((where - best) ** 2).sum()) + rng.normal(0, 0.02)

    _ended(oracle, count, score)
    plain = BayesianOptimizationOracle(
        objective=oracle.objective, hyperparameters=oracle.hyperparameters, num_initial_points=count, seed=seed
    )
    plain.trials = oracle.trials
    # With the same length scale, which another test compares, the two look for the lowest point of the same bound.
    kernel = Matern(oracle._fitted()._gpr.kernel_.length_scale, nu=2.5)
    plain.gpr = GaussianProcessRegressor(kernel, alpha=_NOISE, optimizer=None, normalize_y=True)
    with threadpool_limits(1):
        proposals = [each.populate_space("next")["values"] for each in (oracle, plain)]
        # keras-tuner's process is fitted now.
        mean, deviation = plain.gpr.predict(np.array([oracle._point(values) for values in proposals]), return_std=True)
    return (mean - _BETA * deviation) / plain.gpr._y_train_std


@pytest.mark.parametrize(("seed", "count", "dimensions"), [(0, 8, 1), (1, 12, 2), (2, 25, 4)])
def test_proposals_are_no_worse_than_keras_tuners(seed, count, dimensions):
    ours, theirs = _compared(seed, count, dimensions)
    assert ours <= theirs + 1e-4


@pytest.mark.slow
def test_sixty_proposals_are_no_worse_than_keras_tuners():
    differences = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ours, theirs = _compared(seed, int(rng.integers(6, 100)), int(rng.integers(1, 6)))
        differences.append(ours - theirs)
    assert max(differences) <= 1e-4, differences


def test_it_fits_the_best_and_a_spread_of_the_others_of_many_trials(monkeypatch):
    monkeypatch.setattr(bayesian, "_MOST_FITTED", 20)
    fitted = []

    class Recorded(GaussianProcess):
        def __init__(self, points, scores, *rest):
            fitted.append(-scores)
            super().__init__(points, scores, *rest)

    monkeypatch.setattr(bayesian, "GaussianProcess", Recorded)
    config = _config(2)
    oracle = create(config, parse_space(config))
    scores = list(np.random.default_rng(0).permutation(31) / 31)
    given = iter(scores)
    _ended(oracle, 31, lambda values: next(given))
    assert [len(each) for each in fitted] == [*range(4, 21), *[20] * 10]
    last = fitted[-1].tolist()
    best = sorted(scores[:30])[-10:]
    assert set(best) <= set(last)
    others = [score for score in scores[:30] if score not in best]
    assert [score for score in last if score in others] == [
        score for score in scores[:30] if score in last and score in others
    ]
    assert {others[0], others[-1]} <= set(last)


def test_of_a_small_space_it_proposes_the_best_of_all_that_is_left():
    config = _config(1)
    space = {"groups": choice(1, 2, 4, 8, 16, 32), "norm": choice("group", "batch")}
    config.sweep.space = ConfigDict({"model": space})
    oracle = create(config, parse_space(config))
    _ended(oracle, 8, lambda values: values["model.groups"] / 32 + 0.1 * (values["model.norm"] == "group"))
    tried = {tuple(trial.hyperparameters.values.values()) for trial in oracle.trials.values()}
    assert len(tried) == 8
    process = oracle._fitted()
    left = [values for values in oracle.space.combinations() if tuple(values.values()) not in tried]
    bounds = process.bound(np.array([oracle._point(values) for values in left]))
    assert oracle.populate_space("next")["values"] == left[int(np.argmin(bounds))]
