"""What `sweep.max_epochs` allows of a race, for a dry run."""

import dataclasses
import itertools
import math

from ml_collections import ConfigDict

from gnexp.space.space import Space
from gnexp.sweeps.oracles import race_plan


@dataclasses.dataclass(frozen=True)
class Cut:
    """A race that `sweep.max_epochs` ends early, if it goes as `race_plan.expected` has it.

    Attributes:
      trainings: how many it begins.
      whole: how many it would begin without the limit.
      epochs: of all of these together.
      compares: whether two combinations may have two seeds, which a comparison takes.
    """

    trainings: int
    whole: int
    epochs: int
    compares: bool


def cut(config: ConfigDict, space: Space) -> Cut | None:
    """Returns how `sweep.max_epochs` ends a sweep early, or None if it does not, or if the sweep is no race."""
    most = config.sweep.max_epochs
    if config.sweep.tuner != "racing" or not most:
        return None
    race, half = race_plan.expected(space, config), math.ceil(config.epochs / 2)
    seeds = race.combinations * (config.sweep.executions - 1)
    first = race.trials - seeds
    lengths = [half] * race.settings + [config.epochs - half] * (first - race.settings) + [config.epochs] * seeds
    begun = sum(together <= most for together in itertools.accumulate(lengths))
    return Cut(begun, race.trials, sum(lengths), begun >= first + 2) if begun < race.trials else None
