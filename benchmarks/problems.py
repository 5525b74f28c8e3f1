"""What the tuners of `benchmarks.search` search: the tables of kept grids, and trainings of scikit-learn over ranges.

Both have the attributes and methods of `Problem`.
"""

import functools
import statistics
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from ml_collections import ConfigDict
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from gnexp.analysis.sweep import Swept
from gnexp.config import base
from gnexp.config.objective import MAX
from gnexp.space.entries import by, choice, floats, integers
from gnexp.space.parse import parse_space
from gnexp.space.space import Space, key

_TRAIN, _HELD_OUT = 800, 400  # of the 1,797 digits; the others are the test images
_EPOCHS = 9
_TRAININGS = 30  # whose epochs are the budget
_DRAWN = 200  # combinations drawn at random, of which the best has a regret of 0


class OverError(Exception):
    """The budget of epochs is spent."""


class Problem(Protocol):
    """A search space with a score for each training, which is paid for by the epoch.

    Attributes:
      config: the sweep's, whose space is searched.
      space: that space.
      epochs: of a whole training.
      sign: 1 if the config's objective is to be maximized, otherwise -1.
      budget: how many epochs there are.
      regrets: (epochs spent, regret of what is best so far).
    """

    config: ConfigDict
    space: Space
    epochs: int
    sign: int
    budget: int
    regrets: list[tuple[int, float]]

    def train(self, values: Mapping[str, Any], first: int, last: int, seed: int = 0) -> float:
        """Returns the best score after epoch `last` of a training that has had `first`, and pays for what is between.

        Raises:
          OverError: there is no money left; the score of the last epochs is lost.
        """

    def chose(self, values: Mapping[str, Any]) -> None:
        """Notes which combination a tuner would name now that its budget has got so far."""


class _Paid:
    """The epochs that are spent, and the incumbent: the training with the highest score so far."""

    budget: int

    def __init__(self):
        self._spent, self._incumbent = 0, -np.inf
        self.regrets: list[tuple[int, float]] = []

    def _pay(self, epochs: int) -> None:
        self._spent += epochs
        if self._spent > self.budget:
            raise OverError

    def _scored(self, score: float, regret: float) -> float:
        if score > self._incumbent:
            self._incumbent = score
            self.regrets.append((self._spent, regret))
        return score


class Table(_Paid):
    """A kept grid, in which trainings are looked up.

    The regret is how far a combination's mean over its seeds is behind the best one's; a random combination has 1.

    Args:
      grid: the sweep.
      seed: of the order of the grid's seeds.
    """

    def __init__(self, grid: Swept, seed: int):
        super().__init__()
        self.config, self.space, self.epochs = grid.config, grid.space, grid.config.epochs
        self.sign = 1 if grid.objective.direction == MAX else -1
        self._objective = grid.objective.name
        self._trials = {key(each.values): each for each in grid.best}
        self._order = np.random.default_rng(seed).permutation(grid.config.sweep.executions)
        means = [self.sign * each.mean for each in grid.best]
        self._best, self._typical = max(means), max(means) - statistics.fmean(means)
        self.budget = self.epochs * len(self._trials)

    def train(self, values: Mapping[str, Any], first: int, last: int, seed: int = 0) -> float:
        """As `Problem.train`."""
        known = self._trials[key(values)]
        history = known.results[self._order[seed % len(self._order)]].history
        self._pay(last - first)
        return self._scored(
            max(self.sign * epoch[self._objective] for epoch in history[:last]), self._regret(known.mean)
        )

    def chose(self, values: Mapping[str, Any]) -> None:
        """As `Problem.chose`."""
        self.regrets.append((self._spent, self._regret(self._trials[key(values)].mean)))

    def _regret(self, mean: float) -> float:
        return (self._best - self.sign * mean) / self._typical


@functools.cache
def _ranges() -> ConfigDict:
    config = base.get_config()
    config.data.name, config.epochs, config.objective = "digits", _EPOCHS, "val_accuracy"
    config.sweep = base.get_sweep()
    config.sweep.executions = 3
    config.sweep.space = ConfigDict(
        {
            "data": {"batch_size": choice(8, 16, 32, 64, 128, role="nuisance")},
            "model": {"args": {"units": integers(8, 256, sampling="log", role="nuisance")}},
            "optimizer": {
                "name": choice("adam", "sgd"),
                "learning_rate": floats(1e-5, 1.0, sampling="log", role="nuisance"),
                "weight_decay": floats(1e-6, 1.0, sampling="log", role="nuisance"),
                "momentum": by("optimizer.name", role="nuisance", sgd=floats(0.0, 0.99)),
            },
        }
    )
    return config


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return images[order] / 16, labels[order]


class _Training:
    """A multilayer perceptron of scikit-learn, trained epoch by epoch."""

    def __init__(self, values: Mapping[str, Any], seed: int):
        self._scores: list[tuple[float, float]] = []
        self._network = MLPClassifier(
            (values["model.args.units"],),
            solver=values["optimizer.name"],
            learning_rate_init=values["optimizer.learning_rate"],
            alpha=values["optimizer.weight_decay"],
            batch_size=values["data.batch_size"],
            momentum=values.get("optimizer.momentum", 0.9),
            nesterovs_momentum=False,
            random_state=seed,
        )

    def until(self, epochs: int) -> tuple[float, float]:
        """Returns the accuracies on held-out and test images of the first epochs' best one on held-out images."""
        while len(self._scores) < epochs:
            self._scores.append(self._epoch())
        return max(self._scores[:epochs], key=lambda each: each[0])

    @property
    def test(self) -> float:
        """The accuracy on test images of the best epoch so far."""
        return self.until(len(self._scores))[1]

    def _epoch(self) -> tuple[float, float]:
        images, labels = _digits()
        test = _TRAIN + _HELD_OUT
        try:
            with np.errstate(all="ignore"):
                self._network.partial_fit(images[:_TRAIN], labels[:_TRAIN], classes=range(10))
                score = self._network.score
                return score(images[_TRAIN:test], labels[_TRAIN:test]), score(images[test:], labels[test:])
        except ValueError:  # It diverged, so that its weights are no longer finite.
            return 0.1, 0.1


@functools.cache
def _best() -> float:
    """Returns the best test accuracy of combinations drawn at random."""
    rng, space = np.random.default_rng(1), parse_space(_ranges())
    return max(_Training(drawn(space, rng), 0).until(_EPOCHS)[1] for _ in range(_DRAWN))


def drawn(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Returns a combination drawn at random."""
    values: dict[str, Any] = {}
    for entry in space.entries:
        if entry.holds(values):
            values[entry.path] = entry.at(rng.uniform())
    return values


class Trainings(_Paid):
    """Trainings on scikit-learn's digits, over ranges. The regret is in points of accuracy on the test images.

    Args:
      seed: the first training's seed; further ones follow it.
    """

    sign = 1
    epochs = _EPOCHS
    budget = _TRAININGS * _EPOCHS

    def __init__(self, seed: int):
        super().__init__()
        self.config = _ranges()
        self.space = parse_space(self.config)
        self._seed, self._trainings = seed, {}

    def train(self, values: Mapping[str, Any], first: int, last: int, seed: int = 0) -> float:
        """As `Problem.train`."""
        trained = self._trainings.setdefault(key(values), {})
        if seed not in trained:
            trained[seed] = _Training(values, 1000 * self._seed + seed)
        self._pay(last - first)
        score, test = trained[seed].until(last)
        return self._scored(score, self._regret(test))

    def chose(self, values: Mapping[str, Any]) -> None:
        """As `Problem.chose`."""
        trained = self._trainings[key(values)]
        self.regrets.append((self._spent, self._regret(statistics.fmean(each.test for each in trained.values()))))

    @staticmethod
    def _regret(test: float) -> float:
        return 100 * (_best() - test)
