"""A Gaussian process over the unit cube, and the points at which it expects the lowest scores.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006: equations 2.25 and 2.26 (mean and variance), 4.17
(Matern 5/2), 5.8 (likelihood).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import linalg, optimize, spatial
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

_LENGTHS = (1e-5, 1e2)  # keras-tuner goes to 1e5, at which all points are alike.
_LENGTHS_PER_DECADE = 2
_DRAWN, _BEYOND = 1000, 0.1
_REFINED = 10


class GaussianProcess:
    """A Gaussian process with a Matern kernel of one length scale, fitted to standardized scores.

    Args:
      points: float64 array of shape (n, d), in the unit cube.
      scores: float64 array of shape (n,); lower is better.
      noise: the variance of a score, as a part of that of all scores.
      beta: how many deviations below the mean `bound` is.
    """

    def __init__(self, points: np.ndarray, scores: np.ndarray, noise: float, beta: float):
        self._beta = beta
        self._scores = (scores - scores.mean()) / (scores.std() or 1)
        kernel = Matern(length_scale_bounds=_LENGTHS, nu=2.5)
        self._gpr = GaussianProcessRegressor(kernel, alpha=noise, optimizer=_likeliest).fit(points, self._scores)

    def assume(self, points: np.ndarray) -> None:
        """Takes for granted that points have scores one deviation above their means; the length scale stays.

        Of points that are being tried elsewhere, whose neighbourhood is then not proposed again.
        """
        mean, deviation = self._gpr.predict(points, return_std=True)
        self._scores = np.concatenate([self._scores, mean + deviation])
        points = np.concatenate([self._gpr.X_train_, points])
        self._gpr = GaussianProcessRegressor(self._gpr.kernel_, alpha=self._gpr.alpha, optimizer=None)
        self._gpr.fit(points, self._scores)

    def bound(self, points: np.ndarray) -> np.ndarray:
        """Returns the lower confidence bounds of the standardized scores, of shape (m,), at points (m, d)."""
        mean, deviation = self._gpr.predict(points, return_std=True)
        return mean - self._beta * deviation

    def bound_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the bound at one point (d,), and its gradient (d,)."""
        gpr = self._gpr
        scale = math.sqrt(5) / gpr.kernel_.length_scale
        offsets = point - gpr.X_train_
        distances = scale * np.sqrt(np.einsum("nd,nd->n", offsets, offsets))
        decay = np.exp(-distances)
        near = (1 + distances + distances**2 / 3) * decay
        slopes = -(scale**2) / 3 * ((1 + distances) * decay)[:, np.newaxis] * offsets
        solved = linalg.cho_solve((gpr.L_, True), near, check_finite=False)
        deviation = math.sqrt(max(1 - near @ solved, 1e-12))
        bound = near @ gpr.alpha_ - self._beta * deviation
        return bound, (gpr.alpha_ + self._beta / deviation * solved) @ slopes

    def lowest(self, random: np.random.RandomState) -> np.ndarray:
        """Returns points of low bounds, of shape (m, d): local minima, and the best of many random points."""
        dimensions = self._gpr.X_train_.shape[1]
        # Many of them on the faces and in the corners of the cube, where least is known.
        drawn = random.uniform(-_BEYOND, 1 + _BEYOND, (_DRAWN, dimensions)).clip(0, 1)
        bounds = self.bound(drawn)
        # One start for each basin: the best points of all mostly lie in the widest one.
        _, neighbours = spatial.cKDTree(drawn).query(drawn, 2 * dimensions + 2)
        starts = np.flatnonzero(bounds <= bounds[neighbours].min(axis=1))
        starts = starts[np.argsort(bounds[starts], kind="stable")][:_REFINED]
        refined = [
            optimize.minimize(
                self.bound_and_gradient, drawn[start], jac=True, bounds=[(0, 1)] * dimensions, method="L-BFGS-B"
            ).x
            for start in starts
        ]
        return np.concatenate([refined, drawn[np.argsort(bounds, kind="stable")[:_REFINED]]])


def _likeliest(
    cost: Callable[..., float], initial: np.ndarray, bounds: Sequence[tuple[float, float]]
) -> tuple[np.ndarray, float]:
    """Returns the logarithm of the likeliest length scale, and its cost: an optimizer for scikit-learn.

    The likelihood of a single length scale may have several maxima. A grid finds the highest with a tenth of the
    factorizations that keras-tuner's 21 descents take.
    """

    def of(theta: float) -> float:
        return cost(np.array([theta]), eval_gradient=False)

    ((low, high),) = bounds
    grid = np.linspace(low, high, round((high - low) / math.log(10) * _LENGTHS_PER_DECADE) + 1)
    costs = [of(theta) for theta in grid]
    place = int(np.argmin(costs))
    ends = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(of, bounds=ends, method="bounded", options={"xatol": 1e-2})
    theta, lowest = (found.x, found.fun) if found.fun < costs[place] else (grid[place], costs[place])
    return np.array([theta]), lowest
