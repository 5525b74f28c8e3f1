"""Converts a search space to keras-tuner's hyperparameters."""

import contextlib
import math
import pathlib

import keras_tuner
from keras_tuner.engine.hyperparameters import Choice

from gnexp.errors import UserError
from gnexp.space.space import Space


def of(space: Space) -> keras_tuner.HyperParameters:
    """Returns the hyperparameters of a space, in its order."""
    hps = keras_tuner.HyperParameters()
    for entry in space.entries:
        scope = hps.conditional_scope(entry.when[0], list(entry.when[1])) if entry.when else contextlib.nullcontext()
        with scope:
            match entry.kind:
                case "choice" if len(entry.values) > 1:
                    hps.Choice(entry.path, list(entry.values))
                case "boolean":
                    hps.Boolean(entry.path)
                case "fixed" | "choice":
                    hps.Fixed(entry.path, entry.values[0])
                case "int":
                    hps.Int(entry.path, entry.low, entry.high, entry.step, entry.sampling)
                case "float" if entry.step is None:
                    hps.Float(entry.path, entry.low, entry.high, sampling=entry.sampling)
                case "float":
                    # keras-tuner's own steps miss the last of 0, 0.1, 0.2, 0.3.
                    hps.Choice(entry.path, entry.everything())
    return hps


def check_stored(stored: keras_tuner.HyperParameters, space: Space, path: pathlib.Path) -> None:
    """Raises UserError if a sweep began with other steps of a range: older versions had 0.30000000000000004 for 0.3.

    Args:
      stored: the sweep's hyperparameters, as the file at `path` holds them.
      space: the sweep's search space.
      path: of the file.
    """
    for entry in space.entries:
        if entry.kind == "float" and entry.step is not None:
            known = {value for each in space.of(entry.path) if each.count() < math.inf for value in each.everything()}
            for each in stored.space:
                if each.name == entry.path and isinstance(each, Choice) and not known.issuperset(each.values):
                    raise UserError(
                        f"{path}: the sweep began with an older gnexp, which rounded the steps of {entry.path} "
                        "differently: resume it with that one, or choose another --workdir"
                    )
