"""Bayesian optimization."""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras_tuner.engine.hyperparameters import Fixed, HyperParameter
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle
from threadpoolctl import threadpool_limits

from gnexp.space.space import Space
from gnexp.sweeps.oracles.durable import Durable
from gnexp.sweeps.oracles.gaussian_process import GaussianProcess

_RANDOM_POINTS_PER_HYPERPARAMETER = 2
_MOST_LISTED = 500  # Of a smaller space, all values are compared.
_DRAWN = 200  # if all values near to the best points were tried
_MOST_FITTED = 500  # The cost of a fit grows with the cube of its trials.


class Bayesian(Durable, BayesianOptimizationOracle):
    """Bayesian optimization with a Gaussian process.

    keras-tuner's own takes seconds for a proposal, because it fits from 21 starts and then descends from 50 without a
    gradient; it draws three random points for each hyperparameter, counting one for every optimizer's learning rate;
    does not save its random state (bayesian.py:180); guesses the scores of running trials by the fit before, which a
    killed process forgets (:236); and repeats configurations (:174-204).

    A proposal depends on the trials so far and on the seed, and on nothing else, so that a kill does not change it.
    """

    def __init__(self, space: Space, **options):
        super().__init__(space, num_initial_points=_RANDOM_POINTS_PER_HYPERPARAMETER * len(space.searched), **options)
        self._points: dict[str, list[float]] = {}  # by the trial's id

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the untried values that the Gaussian process rates best."""
        completed = sum(trial.status == TrialStatus.COMPLETED for trial in self.trials.values())
        drawn = self.num_initial_points + (self.first is not None)
        if completed < drawn or not self._nonfixed_space():
            return self._random_populate_space()
        # A thread for each processor would take those of the running trials, and add in another order.
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            warnings.simplefilter("ignore")  # from scikit-learn, about kernels at the edge of their bounds
            return self._best_untried()

    def _best_untried(self) -> dict[str, Any]:
        process = self._fitted()
        if self.space.size() <= _MOST_LISTED:
            candidates = self._untried(self.space.combinations())
        else:
            points = process.lowest(np.random.RandomState((self.seed, len(self.trials))))
            candidates = self._untried(self._values(point) for point in points)
            candidates = candidates or self._untried(self._random_values() for _ in range(_DRAWN))
        if not candidates:
            return {"status": TrialStatus.STOPPED}
        # The bound at a point says little of the nearest values, where only some are allowed.
        bounds = process.bound(np.array([self._point(values) for values in candidates]))
        return {"status": TrialStatus.RUNNING, "values": candidates[int(np.argmin(bounds))]}

    def _fitted(self) -> GaussianProcess:
        """Returns the process that is fitted to the trials, a failure having the worst score of the others.

        keras-tuner leaves failed trials out, and then proposes the values of the last failure forever.
        """
        known = list(self.trials.values())
        if self.first is not None and not self.space.contains(self.first):
            known = known[1:]  # Values that the space lacks have no point.
        ended = [trial for trial in known if trial.status in (TrialStatus.COMPLETED, TrialStatus.FAILED)]
        sign = -1 if self.objective.direction == "max" else 1
        scores = np.array([sign * trial.score if trial.score is not None else math.inf for trial in ended])
        finite = np.isfinite(scores)
        scores[~finite] = scores[finite].max() if finite.any() else 0
        chosen = _most(scores)
        points = np.array([self._point_of(ended[index]) for index in chosen])
        process = GaussianProcess(points, scores[chosen], self.alpha, self.beta)
        if running := [trial for trial in known if trial.status == TrialStatus.RUNNING]:
            process.assume(np.array([self._point_of(trial) for trial in running]))
        return process

    def _untried(self, every: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
        found = {self._compute_values_hash(values): values for values in every if values is not None}
        return [values for key, values in found.items() if key not in self._tried_so_far]

    def _point_of(self, trial: Trial) -> list[float]:
        if trial.trial_id not in self._points:
            self._points[trial.trial_id] = self._point(trial.hyperparameters.values)
        return self._points[trial.trial_id]

    def _point(self, values: dict[str, Any]) -> list[float]:
        """Returns the point of values in the unit cube; what does not hold is at its default."""
        return [
            hp.value_to_prob(values[hp.name] if hp.name in values and _holds(hp, values) else hp.default)
            for hp in self._nonfixed_space()
        ]

    def _values(self, point: np.ndarray) -> dict[str, Any]:
        """Returns the values nearest to a point."""
        values, places = {}, iter(point.tolist())
        for hp in self.hyperparameters.space:
            value = hp.value if isinstance(hp, Fixed) else hp.prob_to_value(next(places))
            if _holds(hp, values):
                values[hp.name] = value
        return values


def _holds(hp: HyperParameter, values: dict[str, Any]) -> bool:
    return all(condition.is_active(values) for condition in hp.conditions)


def _most(scores: np.ndarray) -> np.ndarray:
    """Returns which trials are fitted: all, or the best half of the most, and of the others one in every so many."""
    if len(scores) <= _MOST_FITTED:
        return np.arange(len(scores))
    order = np.argsort(scores, kind="stable")
    best, others = order[: _MOST_FITTED // 2], np.sort(order[_MOST_FITTED // 2 :])
    spread = np.linspace(0, len(others) - 1, _MOST_FITTED - len(best)).round().astype(int)
    return np.sort(np.concatenate([best, others[spread]]))
