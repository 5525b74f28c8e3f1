"""Converts a search space to keras-tuner's hyperparameters."""

import contextlib

import keras_tuner

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
