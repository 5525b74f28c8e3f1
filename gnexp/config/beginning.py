"""Checks for new workdirs only: existing ones may hold what is refused here, and can still be resumed and read."""

import math

from ml_collections import ConfigDict

from gnexp.config import augment
from gnexp.config.paths import flatten
from gnexp.errors import UserError

_OF_CLASSIFICATION = ("task.label_smoothing", "task.top_k", "task.class_weight")


def check(config: ConfigDict) -> None:
    """Checks a valid config for options that would be ignored, or that contradict each other.

    Raises:
      UserError: naming the keys and their values.
    """
    flat = flatten(config)
    for key in _OF_CLASSIFICATION:
        if flat["task.name"] != "classification" and flat[key]:
            raise _with(key, "task.name", flat, "only a classification has it")
    if flat["task.loss"] and flat["task.label_smoothing"]:
        raise _with("task.label_smoothing", "task.loss", flat, "only the classification's own loss smooths labels")
    mixing = [f"{augment.SECTION}.{layer}" for layer in augment.used(flat) if layer in augment.MIXING]
    if mixing and flat["task.class_weight"]:
        raise _with("task.class_weight", None, flat, f"an image that config.{mixing[0]} mixes is of several classes")
    least = math.ceil(flat["epochs"] / 2)
    if flat.get("sweep.tuner") == "racing" and 0 < flat["sweep.max_epochs"] < least:
        why = f"trainings begin with half of the epochs, so that it must be at least {least}, or 0 for no limit"
        raise _with("sweep.max_epochs", "epochs", flat, why)


def _with(key: str, other: str | None, flat: dict, why: str) -> UserError:
    beside = f" with config.{other}={flat[other]!r}" if other else ""
    return UserError(f"config.{key}={flat[key]!r} is not allowed{beside}: {why}")
