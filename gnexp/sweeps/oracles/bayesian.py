"""Bayesian optimization."""

import warnings
from typing import Any

import numpy as np
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle

from gnexp.space.space import Space
from gnexp.sweeps.oracles.durable import Durable

_RANDOM_POINTS_PER_HYPERPARAMETER = 2
_CANDIDATES = 200


class Bayesian(Durable, BayesianOptimizationOracle):
    """Bayesian optimization with a Gaussian process.

    keras-tuner's own draws three random points for each hyperparameter, counting one for every optimizer's learning
    rate, does not save its random state (bayesian.py:180), and repeats configurations (:174-204).
    """

    def __init__(self, space: Space, **options):
        super().__init__(space, num_initial_points=_RANDOM_POINTS_PER_HYPERPARAMETER * len(space.searched), **options)
        self.gpr = self._make_gpr()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the untried values that the Gaussian process rates best."""
        self._random_state = np.random.RandomState((self.seed, len(self.trials)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from scikit-learn, about kernels at the edge of their bounds
            response = super().populate_space(trial_id)
            if response.get("values") and self._duplicate(response["values"]):
                response = self._best_untried()
        return response

    def _vectorize_trials(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the points and scores that the Gaussian process is fitted to, lower scores being better.

        keras-tuner leaves failed trials out, and then proposes the values of the last failure forever. Here a failure
        gets the worst score of the others.
        """
        points, scores = super()._vectorize_trials()
        failed = [
            self._vector(trial.hyperparameters.values)
            for trial in self.trials.values()
            if trial.status == TrialStatus.FAILED
        ]
        if failed:
            points = np.concatenate([points, failed])
            scores = np.concatenate([scores, np.full(len(failed), scores.max())])
        return points, scores

    def _best_untried(self) -> dict[str, Any]:
        drawn = [self._random_values() for _ in range(_CANDIDATES)]
        candidates = {self._compute_values_hash(values): values for values in drawn if values is not None}
        if not candidates:
            return {"status": TrialStatus.STOPPED}
        values = list(candidates.values())
        mean, deviation = self.gpr.predict(np.array([self._vector(each) for each in values]), return_std=True)
        return {"status": TrialStatus.RUNNING, "values": values[int(np.argmin(mean - self.beta * deviation))]}

    def _vector(self, values: dict[str, Any]) -> list[float]:
        chosen = self.get_space()
        chosen.values = values
        return [
            hp.value_to_prob(values[hp.name] if chosen.is_active(hp) and hp.name in values else hp.default)
            for hp in self._nonfixed_space()
        ]
