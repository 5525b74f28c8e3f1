"""The contestants of `benchmarks.search`, each fed from the table of a kept grid.

All have the same space, and each trial is one training of one seed. A trial is asked for its score epoch by epoch.
"""

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

from benchmarks import measure
from gnexp.analysis.outcomes import EPOCHS, FIRST_EPOCH, SEED
from gnexp.analysis.sweep import Swept
from gnexp.config.objective import MAX
from gnexp.space.domain import is_numeric
from gnexp.sweeps.oracles.create import create
from gnexp.sweeps.oracles.race_plan import key

_AT = "@"  # before the case of a condition: keras-tuner and Optuna need a name of its own for each


class OverError(Exception):
    """The budget of epochs is spent."""


class Table:
    """A kept grid, of which trainings are looked up and paid for.

    Args:
      grid: the sweep.
      seed: of the order of the grid's seeds.

    Attributes:
      budget: how many epochs there are: those of each combination with one seed.
      regrets: (epochs spent, how much worse the incumbent is than the best combination, by the means over all seeds).
    """

    def __init__(self, grid: Swept, seed: int):
        self.grid, self.epochs = grid, grid.config.epochs
        self.sign = 1 if grid.objective.direction == MAX else -1
        self._trials = {key(each.values): each for each in grid.best}
        self._order = np.random.default_rng(seed).permutation(grid.config.sweep.executions)
        self._best = max(self.sign * each.mean for each in grid.best)
        self._spent, self._incumbent = 0, -np.inf
        self.budget = self.epochs * len(self._trials)
        self.regrets: list[tuple[int, float]] = []

    def train(self, values: Mapping[str, Any], first: int, last: int, seed: int = 0) -> float:
        """Returns the best score after epoch `last` of a training that has had `first`, and pays for what is between.

        Raises:
          OverError: there is no money left; the score of the last epochs is lost.
        """
        known = self._trials[key(values)]
        history = known.results[self._order[seed % len(self._order)]].history
        self._spent += last - first
        if self._spent > self.budget:
            raise OverError
        score = max(self.sign * epoch[self.grid.objective.name] for epoch in history[:last])
        if score > self._incumbent:
            self._incumbent = score
            self.regrets.append((self._spent, self._best - self.sign * known.mean))
        return score

    def chose(self, values: Mapping[str, Any]) -> None:
        """Notes which combination a contestant would name now that its budget has got so far."""
        self.regrets.append((self._spent, self._best - self.sign * self._trials[key(values)].mean))


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition(_AT)[0]: value for name, value in values.items() if not name.startswith("tuner/")}


def _plain_space(table: Table) -> keras_tuner.HyperParameters:
    hps = keras_tuner.HyperParameters()
    for entry in table.grid.space.entries:
        if entry.when is None:
            hps.Choice(entry.path, list(entry.values))
            continue
        parent, cases = entry.when
        with hps.conditional_scope(parent, list(cases)):
            hps.Choice(f"{entry.path}{_AT}{cases}", list(entry.values))
    return hps


def _holding(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a trial of keras-tuner without those of conditions that do not hold."""
    found: dict[str, Any] = {}
    for entry in table.grid.space.entries:
        if entry.holds(found):
            found[entry.path] = values[entry.path if entry.when is None else f"{entry.path}{_AT}{entry.when[1]}"]
    return found


def plain(kind: Callable[..., keras_tuner.Oracle], table: Table, seed: int, **options) -> None:
    """Runs an oracle of keras-tuner as it is."""
    objective = keras_tuner.Objective("score", "max")
    options = {"objective": objective, "hyperparameters": _plain_space(table), "seed": seed + 1, **options}
    oracle = kind(**options)
    oracle.verbose = 0
    with tempfile.TemporaryDirectory() as folder:
        oracle._set_project_dir(folder, "plain")
        while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
            values = trial.hyperparameters.values
            score = table.train(_holding(table, values), values.get(FIRST_EPOCH, 0), values.get(EPOCHS, table.epochs))
            oracle.update_trial(trial.trial_id, {"score": score})
            trial.status = TrialStatus.COMPLETED
            oracle.end_trial(trial)


def ours(tuner: str, table: Table, seed: int) -> None:
    """Runs one of our oracles."""
    config = table.grid.config.copy_and_resolve_references()
    config.sweep.tuner, config.sweep.seed, config.sweep.own_first = tuner, seed, tuner == "racing"
    config.sweep.max_trials = 9999 if tuner != "racing" else table.grid.space.grid_size()
    oracle = create(config, table.grid.space)
    while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
        values = trial.hyperparameters.values
        score = table.train(
            _named(values), values.get(FIRST_EPOCH, 0), values.get(EPOCHS, table.epochs), values.get(SEED, 0)
        )
        oracle.update_trial(trial.trial_id, {config.objective: table.sign * score})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
        if tuner == "racing":  # It adds seeds, so that the highest score is not its choice.
            table.chose(_named(oracle.best().trial.hyperparameters.values))


def optuna(sampler: str, pruner: str, table: Table, seed: int) -> None:
    """Runs a sampler of Optuna, with a pruner or "" for none."""
    module = measure.peer("optuna")
    module.logging.set_verbosity(module.logging.ERROR)
    pruners = module.pruners
    made = {
        "": pruners.NopPruner,
        "ASHA": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=table.epochs, reduction_factor=3),
    }[pruner]()
    study = module.create_study(direction="maximize", sampler=getattr(module.samplers, sampler)(seed=seed), pruner=made)

    def objective(trial: Any) -> float:
        values: dict[str, Any] = {}
        for entry in table.grid.space.entries:
            if entry.holds(values):
                name = entry.path if entry.when is None else f"{entry.path}{_AT}{entry.when[1]}"
                values[entry.path] = _suggested(trial, name, entry.values)
        score = -np.inf
        for epoch in range(1, table.epochs + 1):
            score = table.train(values, epoch - 1, epoch)
            trial.report(score, epoch)
            if epoch < table.epochs and trial.should_prune():
                raise module.TrialPruned
        return score

    study.optimize(objective, n_trials=10**6)


def _suggested(trial: Any, name: str, values: Sequence[Any]) -> Any:
    if not all(map(is_numeric, values)):
        return trial.suggest_categorical(name, list(values))
    ordered = sorted(values)  # as keras-tuner has it
    return ordered[trial.suggest_int(name, 0, len(ordered) - 1)]


def ray_asha(table: Table, seed: int) -> None:
    """Runs Ray Tune's ASHA over combinations drawn at random, one trial at a time."""
    schedulers = measure.peer("ray.tune.schedulers")
    scheduler = schedulers.AsyncHyperBandScheduler(
        time_attr="epoch", metric="score", mode="max", max_t=table.epochs, grace_period=1, reduction_factor=3
    )
    rng, combinations = np.random.default_rng(seed), list(table.grid.space.combinations())
    for number in itertools.count():
        trial, values = _Named(str(number)), combinations[rng.integers(len(combinations))]
        scheduler.on_trial_add(None, trial)
        for epoch in range(1, table.epochs + 1):
            result = {"epoch": epoch, "score": table.train(values, epoch - 1, epoch)}
            if scheduler.on_trial_result(None, trial, result) != schedulers.TrialScheduler.CONTINUE:
                break


@dataclasses.dataclass(frozen=True)
class _Named:
    """What Ray Tune's scheduler asks of a trial."""

    trial_id: str


def contestants() -> dict[str, Callable[[Table, int], None]]:
    """Returns the contestants by name; each runs until the table raises OverError, or there is nothing left to try."""
    many = {"max_trials": 10**6}
    return {
        "keras-tuner random": lambda table, seed: plain(RandomSearchOracle, table, seed, **many),
        "keras-tuner bayesian": lambda table, seed: plain(BayesianOptimizationOracle, table, seed, **many),
        "keras-tuner hyperband": lambda table, seed: plain(
            HyperbandOracle, table, seed, max_epochs=table.epochs, hyperband_iterations=1000
        ),
        **{f"gnexp {name}": _ours(name) for name in ("random", "bayesian", "hyperband", "racing")},
        "Optuna TPE": lambda table, seed: optuna("TPESampler", "", table, seed),
        "Optuna TPE, ASHA": lambda table, seed: optuna("TPESampler", "ASHA", table, seed),
        "Optuna TPE, hyperband": lambda table, seed: optuna("TPESampler", "hyperband", table, seed),
        "Optuna GP": lambda table, seed: optuna("GPSampler", "", table, seed),
        "Optuna GP, ASHA": lambda table, seed: optuna("GPSampler", "ASHA", table, seed),
        "Ray Tune ASHA": ray_asha,
    }


def _ours(tuner: str) -> Callable[[Table, int], None]:
    return lambda table, seed: ours(tuner, table, seed)
