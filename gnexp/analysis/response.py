"""What each hyperparameter does, by a model of all trials; scikit-learn takes a second to import.

Where a tuner did not try all combinations alike, or a range was searched, there are no pairs to compare. A random
forest is then fitted to the trials. It says what each value gives with the others as they were in the trials (partial
dependence, Friedman 2001), and the trees, each fitted to a bootstrap sample, say how sure that is.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_predict

from gnexp.analysis import effects
from gnexp.analysis.effects import Level
from gnexp.analysis.importance import ranks
from gnexp.analysis.sweep import Swept

_FEWEST = 10  # completed trials, for a model to be fitted
_LOWEST_R2 = 0.2  # of trials that it was not fitted to, below which the model does not hold
_FOLDS, _TREES, _TREES_OF_A_FOLD = 5, 200, 50
_POINTS = 24  # of a curve
_MOST = 500  # trials that a tree is fitted to, and that it is asked about: more cost seconds and say nothing new


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
      fewest: how many trials a model takes.
      lowest: the lowest `r2` at which it holds.
    """

    rows: Sequence[Row]
    trials: int
    r2: float | None
    curves: Sequence[Curve] = ()
    fewest: int = _FEWEST
    lowest: float = _LOWEST_R2

    @property
    def holds(self) -> bool:
        """Whether the model is to be relied on."""
        return self.r2 is not None and self.r2 >= self.lowest


def response(sweep: Swept) -> Response:
    """Returns what the scientific hyperparameters of a sweep do to its objective."""
    asked, trials = sweep.space.asked, sweep.best
    found = {each.path: each.levels for each in effects.effects(sweep.config, sweep.space, sweep.counted)}
    alone = Response([Row(path, level) for path in asked for level in found[path]], len(trials), None)
    scores = np.array([trial.mean for trial in trials])
    if len(trials) < _FEWEST or not np.ptp(scores) > 0:
        return alone
    paths = sweep.space.searched
    columns = np.column_stack([ranks([trial.values.get(path) for trial in trials]) for path in paths])
    # The trials are ranked: in that order, a part of them is always one of the best, or of the worst.
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    guessed = cross_val_predict(_forest(_TREES_OF_A_FOLD, len(scores)), columns, scores, cv=folds)
    r2 = float(1 - np.mean((scores - guessed) ** 2) / np.var(scores))
    if r2 < _LOWEST_R2:
        return dataclasses.replace(alone, r2=r2)
    forest = _forest(_TREES, len(scores)).fit(columns, scores)
    rows: list[Row] = []
    curves = []
    for path in asked:
        values = [trial.values.get(path) for trial in trials]
        rows += _rows(path, found[path], forest, columns, paths.index(path), values)
        if any(value is not None for value in values):  # Those that have it may all have failed.
            curves.append(_curve(path, forest, columns, paths.index(path), values))
    return Response(rows, len(trials), r2, curves)


def _forest(trees: int, trials: int) -> RandomForestRegressor:
    share = min(1.0, _MOST / trials)
    return RandomForestRegressor(n_estimators=trees, min_samples_leaf=2, max_samples=share, random_state=0)


def _rows(
    path: str,
    levels: Sequence[Level],
    forest: RandomForestRegressor,
    columns: np.ndarray,
    place: int,
    values: Sequence[Any],
) -> list[Row]:
    numbers = columns[:, place]
    means = []
    for level in levels:
        # What the model knows of a level is what it was fitted to: the places of the level's trials.
        inside = sorted({number for number, value in zip(numbers, values, strict=True) if value in level.values})
        drawn = _spread(inside, 3)
        means.append(np.mean(_by_tree(forest, columns, place, drawn), axis=0) if drawn else None)
    rows = []
    for level, mean in zip(levels, means, strict=True):
        if mean is None or means[0] is None or level is levels[0]:
            rows.append(Row(path, level))
            continue
        difference = mean - means[0]
        # Not the mean, which a few trees may carry out of the interval.
        low, middle, high = np.percentile(difference, [2.5, 50, 97.5])
        rows.append(Row(path, level, float(middle), float(low), float(high)))
    return rows


def _curve(path: str, forest: RandomForestRegressor, columns: np.ndarray, place: int, values: Sequence[Any]) -> Curve:
    had = {number: value for number, value in zip(columns[:, place], values, strict=True) if value is not None}
    numbers = _spread(sorted(had), _POINTS)
    by_tree = _by_tree(forest, columns, place, numbers)
    low, middle, high = np.percentile(by_tree, [2.5, 50, 97.5], axis=1)
    return Curve(path, [had[number] for number in numbers], middle.tolist(), low.tolist(), high.tolist())


def _spread(found: Sequence[Any], most: int) -> list[Any]:
    """Returns up to `most` items of a sequence, evenly spaced, the first and the last included."""
    return [found[index] for index in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]


def _by_tree(forest: RandomForestRegressor, columns: np.ndarray, place: int, numbers: Sequence[float]) -> np.ndarray:
    """Returns what each tree expects on average if all trials had a value, of shape (len(numbers), trees)."""
    # The trials are ranked, so that the first ones would be the best.
    having = np.array(_spread(columns[columns[:, place] >= 0], _MOST))
    changed = np.tile(having, (len(numbers), 1))
    changed[:, place] = np.repeat(numbers, len(having))
    guessed = [tree.predict(changed).reshape(len(numbers), len(having)).mean(axis=1) for tree in forest.estimators_]
    return np.transpose(guessed)
