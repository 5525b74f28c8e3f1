"""What each hyperparameter does, by a model of all trials; scikit-learn takes a second to import.

Where a tuner did not try all combinations alike, or a range was searched, there are no pairs to compare. A Gaussian
process is then fitted to the trials (Rasmussen and Williams 2006). It says what each value gives with the others as
they were in the trials (partial dependence, Friedman 2001), and how sure that is: a difference of two such means is
linear in the process, so that its posterior is known. Where trials that are left out lie further from what is expected
of them than the process says, its intervals are widened as much.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import linalg, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from gnexp.analysis import effects
from gnexp.analysis.coding import coded, fewest, ranks
from gnexp.analysis.effects import Level
from gnexp.analysis.outcomes import EPOCHS
from gnexp.analysis.sweep import Swept

_LOWEST_R2 = 0.2  # of trials that it was not fitted to, below which the model does not hold
_POINTS = 24  # of a curve
_MOST = 300  # trials that the process is fitted to: its time grows with their cube
# Of a column, which goes from 0 to 1. Shorter ones would explain noise, and longer ones are a straight line.
_LENGTHS = (0.2, 20.0)
_NOISE, _SIZE = (1e-4, 2.0), (1e-2, 10.0)  # variances, where that of the scores is 1


@dataclasses.dataclass(frozen=True)
class Row:
    """One value or range of a hyperparameter.

    Attributes:
      path: the hyperparameter.
      level: the value or range, with its trials.
      difference: by how much the objective differs from that of the hyperparameter's first level, by the model; None
        for the first level, and where the model does not hold.
      low, high: the 95% interval of the difference.
    """

    path: str
    level: Level
    difference: float | None = None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Curve:
    """What the model expects of the objective over the values of a hyperparameter.

    Attributes:
      path: the hyperparameter.
      values: some of those that trials had, in order.
      means: what is expected if all trials had a value.
      lows, highs: the 95% intervals.
    """

    path: str
    values: Sequence[Any]
    means: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Response:
    """The rows, and how far the model holds.

    Attributes:
      rows: of every scientific hyperparameter.
      trials: how many completed.
      r2: the share of the variance that the model explains of trials that it was not fitted to; None without a model.
      curves: for every scientific hyperparameter, if the model holds.
      fewest: how many completed trials a model takes.
      fitted: to how many of the trials the model was fitted.
      lowest: the lowest `r2` at which it holds.
    """

    rows: Sequence[Row]
    trials: int
    fewest: int
    r2: float | None = None
    curves: Sequence[Curve] = ()
    fitted: int = 0
    lowest: float = _LOWEST_R2

    @property
    def holds(self) -> bool:
        """Whether the model is to be relied on."""
        return self.r2 is not None and self.r2 >= self.lowest


def response(sweep: Swept) -> Response:
    """Returns what the scientific hyperparameters of a sweep do to its objective."""
    asked, trials = sweep.space.asked, sweep.best
    found = {each.path: each.levels for each in effects.effects(sweep.config, sweep.space, sweep.counted)}
    needed = fewest(sweep.space, sweep.config.sweep.tuner)
    alone = Response([Row(path, level) for path in asked for level in found[path]], len(trials), needed)
    whole = any(trial.values.get(EPOCHS, sweep.config.epochs) == sweep.config.epochs for trial in trials)
    if len(trials) < needed or not whole or not np.ptp([trial.mean for trial in trials]) > 0:
        return alone
    # The trials are ranked, so that evenly spaced ones are good and bad.
    kept = [trials[place] for place in _spread(range(len(trials)), _MOST)]
    values = {path: [trial.values.get(path) for trial in kept] for path in sweep.space.searched}
    model = _Model(values, [trial.values.get(EPOCHS) for trial in kept], [trial.mean for trial in kept])
    if model.r2 < _LOWEST_R2:
        return dataclasses.replace(alone, r2=model.r2)
    rows = [row for path in asked for row in _rows(path, found[path], model)]
    # Those that have a value may all have failed.
    curves = [_curve(path, model) for path in asked if model.known(path)]
    return dataclasses.replace(alone, rows=rows, r2=model.r2, curves=curves, fitted=len(kept))


class _Model:
    """A Gaussian process over the trials of a sweep.

    Args:
      values: of each hyperparameter, its value in each trial, or None.
      epochs: of each trial; all None where trials have the same.
      scores: of each trial.

    Attributes:
      r2: the share of the scores' variance that it explains of trials that are left out, one at a time.
    """

    def __init__(self, values: Mapping[str, Sequence[Any]], epochs: Sequence[int | None], scores: Sequence[float]):
        self._values = values
        self._columns = {path: coded(each, each) for path, each in values.items()}
        # Trials of fewer epochs say something of the others, but what is asked is what all epochs give.
        trained = coded(epochs, epochs) if len(set(epochs)) > 1 else np.empty((len(scores), 0))
        self._full = np.ones_like(trained)
        columns = np.column_stack([*self._columns.values(), trained])
        size, length = ConstantKernel(1.0, _SIZE), Matern(np.ones(columns.shape[1]), _LENGTHS, nu=2.5)
        process = GaussianProcessRegressor(size * length + WhiteKernel(0.1, _NOISE), normalize_y=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # A length at its bound is one without effect.
            process.fit(columns, scores)
        self._points, self._scale, self._mean = columns, float(np.std(scores)), float(np.mean(scores))
        self._kernel, self._factor, self._weights = process.kernel_.k1, process.L_, process.alpha_
        inverse = linalg.cho_solve((self._factor, True), np.eye(len(scores)))
        # Rasmussen and Williams, equations 5.12: each trial as the others expect it.
        missed, spread = process.alpha_ / np.diag(inverse), 1 / np.sqrt(np.diag(inverse))
        self.r2 = float(1 - np.mean(missed**2))
        count, fitted = columns.shape
        freedom = max(1, count - fitted - 2)
        away = np.abs(missed / spread)
        far = max(1.0, np.sqrt(np.mean(away**2)), np.quantile(away, 0.95) / 1.96)
        self._width = float(stats.t.ppf(0.975, freedom) * count / max(1, count - fitted) * far)

    def known(self, path: str) -> list[Any]:
        """Returns the values that a hyperparameter had, in order."""
        found = dict(zip(ranks(self._values[path]), self._values[path], strict=True))
        return [found[rank] for rank in sorted(found) if rank >= 0]

    def expected(self, path: str, of: Sequence[Any], against: Sequence[Any] = ()) -> tuple[float, float, float]:
        """Returns what the objective is on average if all trials had a value, and the ends of its 95% interval.

        Args:
          path: a hyperparameter.
          of: the values, of which the mean is taken.
          against: others, whose mean is subtracted; () for none.
        """
        signs = [1 / len(of) for _ in of] + [-1 / len(against) for _ in against]
        grids = [self._with(path, value) for value in [*of, *against]]
        across = sum(
            sign * self._kernel(grid, self._points).mean(axis=0) for sign, grid in zip(signs, grids, strict=True)
        )
        own = sum(
            one * other * self._kernel(grid, second).mean()
            for one, grid in zip(signs, grids, strict=True)
            for other, second in zip(signs, grids, strict=True)
        )
        known = linalg.solve_triangular(self._factor, across, lower=True)
        half = self._width * self._scale * np.sqrt(max(0.0, own - known @ known))
        middle = self._scale * float(across @ self._weights) + (0.0 if against else self._mean)
        return middle, middle - half, middle + half

    def _with(self, path: str, value: Any) -> np.ndarray:
        """Returns the columns of the trials that have a hyperparameter, with one value and with all epochs."""
        having = [place for place, each in enumerate(self._values[path]) if each is not None]
        changed = np.repeat(coded(self._values[path], [value]), len(having), axis=0)
        columns = [changed if name == path else each[having] for name, each in self._columns.items()]
        return np.column_stack([*columns, self._full[having]])


def _rows(path: str, levels: Sequence[Level], model: _Model) -> list[Row]:
    known = model.known(path)
    # What the model knows of a level is what it was fitted to.
    inside = [_spread([value for value in known if value in level.values], 3) for level in levels]
    return [
        Row(path, level, *model.expected(path, values, inside[0]))
        if values and inside[0] and level is not levels[0]
        else Row(path, level)
        for level, values in zip(levels, inside, strict=True)
    ]


def _curve(path: str, model: _Model) -> Curve:
    values = _spread(model.known(path), _POINTS)
    means, lows, highs = zip(*(model.expected(path, [value]) for value in values), strict=True)
    return Curve(path, values, means, lows, highs)


def _spread(found: Sequence[Any], most: int) -> list[Any]:
    """Returns up to `most` items of a sequence, evenly spaced, the first and the last included."""
    return [found[index] for index in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]
