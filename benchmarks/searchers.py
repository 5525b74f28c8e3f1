"""The contestants of `benchmarks.search`, each of which searches a `problems.Problem`.

All have the same space, and each trial is one training of one seed. A trial is asked for its score epoch by epoch.
"""

import contextlib
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

from benchmarks import measure
from benchmarks.problems import Problem, drawn
from gnexp.analysis.outcomes import EPOCHS, FIRST_EPOCH, SEED
from gnexp.space.domain import Entry, is_numeric
from gnexp.sweeps.oracles.create import create

_AT = "@"  # before the case of a condition: keras-tuner and Optuna need a name of its own for each


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition(_AT)[0]: value for name, value in values.items() if not name.startswith("tuner/")}


def _plain_space(problem: Problem) -> keras_tuner.HyperParameters:
    hps = keras_tuner.HyperParameters()
    for entry in problem.space.entries:
        with hps.conditional_scope(entry.when[0], list(entry.when[1])) if entry.when else contextlib.nullcontext():
            _add(hps, _name(entry), entry)
    return hps


def _add(hps: keras_tuner.HyperParameters, name: str, entry: Entry) -> None:
    if entry.values:
        hps.Choice(name, list(entry.values))
    elif entry.kind == "int":
        hps.Int(name, entry.low, entry.high, sampling=entry.sampling)
    else:
        hps.Float(name, entry.low, entry.high, sampling=entry.sampling)


def _name(entry: Entry) -> str:
    return entry.path if entry.when is None else f"{entry.path}{_AT}{entry.when[1]}"


def _holding(problem: Problem, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a trial of keras-tuner without those of conditions that do not hold."""
    found: dict[str, Any] = {}
    for entry in problem.space.entries:
        if entry.holds(found):
            found[entry.path] = values[_name(entry)]
    return found


def plain(kind: Callable[..., keras_tuner.Oracle], problem: Problem, seed: int, **options) -> None:
    """Runs an oracle of keras-tuner as it is."""
    objective = keras_tuner.Objective("score", "max")
    # It counts its seed up with each draw, so that seeds beside each other draw nearly the same.
    options = {"objective": objective, "hyperparameters": _plain_space(problem), "seed": 1000 * seed + 1, **options}
    oracle = kind(**options)
    oracle.verbose = 0
    with tempfile.TemporaryDirectory() as folder:
        oracle._set_project_dir(folder, "plain")
        while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
            values = trial.hyperparameters.values
            score = problem.train(
                _holding(problem, values), values.get(FIRST_EPOCH, 0), values.get(EPOCHS, problem.epochs)
            )
            oracle.update_trial(trial.trial_id, {"score": score})
            trial.status = TrialStatus.COMPLETED
            oracle.end_trial(trial)


def ours(tuner: str, problem: Problem, seed: int) -> None:
    """Runs one of our oracles."""
    config = problem.config.copy_and_resolve_references()
    config.sweep.tuner, config.sweep.seed, config.sweep.own_first = tuner, seed, tuner == "racing"
    config.sweep.max_trials = 9999 if tuner != "racing" else problem.budget // problem.epochs
    oracle = create(config, problem.space)
    while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
        values = trial.hyperparameters.values
        score = problem.train(
            _named(values), values.get(FIRST_EPOCH, 0), values.get(EPOCHS, problem.epochs), values.get(SEED, 0)
        )
        oracle.update_trial(trial.trial_id, {config.objective: problem.sign * score})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
        if tuner == "racing":  # It adds seeds, so that the highest score is not its choice.
            problem.chose(_named(oracle.best().trial.hyperparameters.values))


def optuna(sampler: str, pruner: str, problem: Problem, seed: int) -> None:
    """Runs a sampler of Optuna, with a pruner or "" for none."""
    module = measure.peer("optuna")
    module.logging.set_verbosity(module.logging.ERROR)
    pruners = module.pruners
    made = {
        "": pruners.NopPruner,
        "ASHA": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=problem.epochs, reduction_factor=3),
    }[pruner]()
    study = module.create_study(direction="maximize", sampler=getattr(module.samplers, sampler)(seed=seed), pruner=made)

    def objective(trial: Any) -> float:
        values: dict[str, Any] = {}
        for entry in problem.space.entries:
            if entry.holds(values):
                values[entry.path] = _suggested(trial, _name(entry), entry)
        score = -np.inf
        for epoch in range(1, problem.epochs + 1):
            score = problem.train(values, epoch - 1, epoch)
            trial.report(score, epoch)
            if epoch < problem.epochs and trial.should_prune():
                raise module.TrialPruned
        return score

    study.optimize(objective, n_trials=10**6)


def _suggested(trial: Any, name: str, entry: Entry) -> Any:
    if not entry.values:
        suggest = trial.suggest_int if entry.kind == "int" else trial.suggest_float
        return suggest(name, entry.low, entry.high, log=entry.sampling == "log")
    if not all(map(is_numeric, entry.values)):
        return trial.suggest_categorical(name, list(entry.values))
    ordered = sorted(entry.values)  # as keras-tuner has it
    return ordered[trial.suggest_int(name, 0, len(ordered) - 1)]


def ray_asha(problem: Problem, seed: int) -> None:
    """Runs Ray Tune's ASHA over combinations drawn at random, one trial at a time."""
    schedulers = measure.peer("ray.tune.schedulers")
    scheduler = schedulers.AsyncHyperBandScheduler(
        time_attr="epoch", metric="score", mode="max", max_t=problem.epochs, grace_period=1, reduction_factor=3
    )
    rng = np.random.default_rng(seed)
    for number in itertools.count():
        trial, values = _Named(str(number)), drawn(problem.space, rng)
        scheduler.on_trial_add(None, trial)
        for epoch in range(1, problem.epochs + 1):
            result = {"epoch": epoch, "score": problem.train(values, epoch - 1, epoch)}
            if scheduler.on_trial_result(None, trial, result) != schedulers.TrialScheduler.CONTINUE:
                break


@dataclasses.dataclass(frozen=True)
class _Named:
    """What Ray Tune's scheduler asks of a trial."""

    trial_id: str


def contestants() -> dict[str, Callable[[Problem, int], None]]:
    """Returns the contestants by name; each runs until OverError, or until nothing is left to try."""
    many = {"max_trials": 10**6}
    return {
        "keras-tuner random": lambda problem, seed: plain(RandomSearchOracle, problem, seed, **many),
        "keras-tuner bayesian": lambda problem, seed: plain(BayesianOptimizationOracle, problem, seed, **many),
        "keras-tuner hyperband": lambda problem, seed: plain(
            HyperbandOracle, problem, seed, max_epochs=problem.epochs, hyperband_iterations=1000
        ),
        **{f"gnexp {name}": _ours(name) for name in ("random", "bayesian", "hyperband", "racing")},
        "Optuna TPE": lambda problem, seed: optuna("TPESampler", "", problem, seed),
        "Optuna TPE, ASHA": lambda problem, seed: optuna("TPESampler", "ASHA", problem, seed),
        "Optuna TPE, hyperband": lambda problem, seed: optuna("TPESampler", "hyperband", problem, seed),
        "Optuna GP": lambda problem, seed: optuna("GPSampler", "", problem, seed),
        "Optuna GP, ASHA": lambda problem, seed: optuna("GPSampler", "ASHA", problem, seed),
        "Ray Tune ASHA": ray_asha,
    }


def _ours(tuner: str) -> Callable[[Problem, int], None]:
    return lambda problem, seed: ours(tuner, problem, seed)
