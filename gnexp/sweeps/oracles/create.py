"""The oracles by their names in a config."""

from typing import Any

from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import RandomSearchOracle
from ml_collections import ConfigDict

from gnexp.config import objective
from gnexp.config.paths import flatten
from gnexp.space.space import Space
from gnexp.sweeps.oracles import race_plan
from gnexp.sweeps.oracles.bayesian import Bayesian
from gnexp.sweeps.oracles.durable import Durable
from gnexp.sweeps.oracles.grid import Grid
from gnexp.sweeps.oracles.hyperband import Hyperband
from gnexp.sweeps.oracles.racing import Racing


class _Random(Durable, RandomSearchOracle):
    """Random search."""


def create(config: ConfigDict, space: Space) -> Durable:
    """Returns the oracle that a sweep's config asks for: a `keras_tuner.Oracle` without a folder yet."""
    sweep = config.sweep
    options = {
        "space": space,
        "objective": objective.of(flatten(config)),
        # A grid has one more if it lacks the config's own values.
        "max_trials": space.trials(config) if sweep.tuner == "grid" else sweep.max_trials,
        "seed": sweep.seed,
        "first": space.first(config),
    }
    match sweep.tuner:
        case "random":
            return _Random(**options)
        case "grid":
            return Grid(**options)
        case "bayesian":
            return Bayesian(**options)
        case "hyperband":
            return Hyperband(**options, max_epochs=config.epochs, factor=sweep.factor)
        case "racing":
            return Racing(**options, config=config)
    raise ValueError(f"tuner={sweep.tuner!r}")


def count(config: ConfigDict, space: Space) -> int:
    """Returns how many trials a sweep will have, or about how many in a race."""
    return race_plan.expected(space, config).trials if config.sweep.tuner == "racing" else space.trials(config)


def first_trials(config: ConfigDict, space: Space, count: int) -> list[dict[str, Any]]:
    """Returns the values of a sweep's first trials, up to those that depend on the results of others."""
    oracle = create(config, space)
    trials = [oracle.create_trial(f"tuner{number}") for number in range(count)]
    return [trial.hyperparameters.values for trial in trials if trial.status == TrialStatus.RUNNING]
