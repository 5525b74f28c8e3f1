"""Sweeps whose trainings are drawn from a formula, with the product's own oracles."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs import fmnist_sweep
from gnexp.analysis.outcomes import COMPLETED, EPOCHS, SEED, Outcome
from gnexp.analysis.sweep import Swept, swept
from gnexp.config.paths import nested
from gnexp.space.parse import parse_space
from gnexp.sweeps.oracles.create import create
from gnexp.workdir.result import Result

NOISE = 0.005  # the standard deviation of an accuracy over seeds


def config(tuner: str, trials: int, seeds: int, space: Mapping[str, Any], epochs: int = 4, **sweep: Any) -> ConfigDict:
    """Returns the config of a sweep over `space`, whose keys are dotted paths, with other keys of its section."""
    found = fmnist_sweep.get_config()
    found.epochs = epochs
    found.sweep.update({"tuner": tuner, "max_trials": trials, "executions": seeds, **sweep})
    found.sweep.space = ConfigDict(nested(space))
    return found


def run(config: ConfigDict, truth: Callable[[Mapping[str, Any], int], float], rng: np.random.Generator) -> Swept:
    """Runs a sweep of made-up trainings.

    Args:
      config: the sweep's.
      truth: returns the accuracy that a trial's values give without noise, after a number of epochs.
      rng: draws the noise: of each training, of which validation and test share a part, and what a seed does to all.
    """
    space, seeds = parse_space(config), config.sweep.executions
    oracle, found, of_seed, drawn = create(config, space), [], rng.normal(0, NOISE / 2, seeds), {}

    def training(values: Mapping[str, Any], seed: int) -> Result:
        own = tuple(sorted((path, value) for path, value in values.items() if not path.startswith("tuner/")))
        shared, of_test, of_epochs = drawn.setdefault(
            (own, seed), (rng.normal(0, NOISE), rng.normal(0, NOISE / 2), rng.normal(0, NOISE / 2, config.epochs))
        )
        known = values.get(EPOCHS, config.epochs)
        curve = [truth(values, epoch) + of_seed[seed] + shared + of_epochs[epoch - 1] for epoch in range(1, known + 1)]
        history = [{"epoch": epoch, "val_accuracy": score} for epoch, score in enumerate(curve, start=1)]
        tests = {"accuracy": truth(values, known) + of_seed[seed] + shared + of_test, "loss": 0.5}
        best = int(np.argmax(curve))
        return Result("success", "fashion_mnist", 0.1, "val_accuracy", curve[best], best + 1, tests, 1.0, history)

    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        values = dict(trial.hyperparameters.values)
        results = tuple(training(values, seed) for seed in ([values[SEED]] if SEED in values else range(seeds)))
        for done in results:
            oracle.update_trial(trial.trial_id, {config.objective: done.best_value})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        found.append(Outcome(trial.trial_id, values, COMPLETED, None, results))
    return swept(pathlib.Path(), config, space, found)
