"""What `--dry_run` prints: the config, the network and its norms, what a sweep searches, and how long it will take."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from ml_collections import ConfigDict
from tqdm import tqdm

from gnexp.config.stored import to_json
from gnexp.data.splits import Splits
from gnexp.norms import table
from gnexp.space.space import Space
from gnexp.sweeps.oracles import race_limit, race_plan
from gnexp.sweeps.oracles.create import count
from gnexp.training import backend
from gnexp.training.loop import Training

_SECONDS = 20.0  # spent on trials that are tried; one is tried in any case


def network(config: ConfigDict, model: keras.Model) -> None:
    """Prints a resolved config, its network with the inner models unfolded, and the network's norms."""
    print(json.dumps(to_json(config), indent=2))
    model.summary(line_length=100, expand_nested=True)
    found = table.rows(model)
    print(table.text(found) if found else "The network has no norms.")


def estimate(
    config: ConfigDict, splits: Splits, space: Space | None = None, first: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Prints how long a training or a sweep will take, from a few steps of it or of its first trials.

    Args:
      config: of the training or the sweep.
      splits: its dataset.
      space: the sweep's search space.
      first: the values of its first trials.
    """
    began, times = time.monotonic(), []
    for trial in [space.config(config, values) for values in first] if space else [config]:
        times.append(_seconds(trial, splits))
        backend.forget()
        if time.monotonic() - began > _SECONDS:
            break
    if space is None:
        print(f"\nAbout {tqdm.format_interval(times[0])} for {config.epochs} epochs, from a few steps.")
        return
    sweep, trials = config.sweep, count(config, space)
    most, trainings = "", trials * sweep.executions
    what = f"{trials} trials of {sweep.executions} x {config.epochs} epochs"
    if sweep.tuner == "hyperband":
        most = " at most"
    if sweep.tuner == "racing":
        race = race_plan.expected(space, config)
        trainings = race.epochs / config.epochs
        what = f"{race.settings} settings in {trials} trainings of {race.epochs} epochs together"
        if cut := race_limit.cut(config, space):
            what = f"the first {cut.trainings} of {trials} trainings, of {race.epochs} epochs together"
        most = f", or {tqdm.format_interval(sweep.max_seconds)} of training," if sweep.max_seconds else ""
    total = sum(times) / len(times) * trainings / min(sweep.parallel, trials)
    print(
        f"\nAbout {tqdm.format_interval(total)}{most} for {what}, {sweep.parallel} at a time. This is from a few steps "
        f"of the first {len(times)}, which take {tqdm.format_interval(min(times))} to "
        f"{tqdm.format_interval(max(times))} each."
    )


def _seconds(config: ConfigDict, splits: Splits) -> float:
    """Returns about how long a training takes, from building it and from a few of its steps."""
    began = time.monotonic()
    training = Training(config, splits)
    epoch = training.epoch_seconds()
    return time.monotonic() - began + epoch * config.epochs
