"""Checks a config, each value by itself and values together, and makes the messages for one that is not valid."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config import augment, groups, objective, open_sections
from gnexp.config.paths import flatten, is_of_space
from gnexp.config.schema import FIELDS, is_key
from gnexp.errors import UserError


def unknown_key(path: str, where: str = "config") -> UserError:
    """Returns the error for an unknown dotted path, which suggests the most similar known one.

    Args:
      path: the path as it was given.
      where: the prefix of the path in the message.
    """
    if path.startswith(f"{augment.SECTION}."):
        return augment.unknown(path, where)
    if open_sections.is_whole(path):
        example = {"model": "depth", "data": "size"}.get(path.partition(".")[0], "KEY")
        return UserError(f"{where}.{path} is a section: give its keys one by one, such as {where}.{path}.{example}")
    if any(known.startswith(f"{path}.") for known in FIELDS):
        return UserError(f"{where}.{path} is a section: name one of its keys, such as {where}.{_first_key(path)}")
    near = difflib.get_close_matches(path, FIELDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "allowed: " + ", ".join(FIELDS)
    return UserError(f"{where}.{path}: there is no such key; {hint}")


def _first_key(section: str) -> str:
    return next(path for path in FIELDS if path.startswith(f"{section}."))


def bad_value(path: str, value: Any) -> UserError:
    """Returns the error for a value that the field at a dotted path does not accept."""
    return UserError(f"config.{path}={value!r} is not allowed: it must be {FIELDS[path].allowed}")


def check_keys(config: ConfigDict, where: str = "config", above: tuple[ConfigDict, ...] = ()) -> None:
    """Checks that all keys of a config are strings, in its sections too, and that no section holds itself.

    Args:
      config: a config, or a section of one.
      where: its dotted path in the message.
      above: the sections that it is part of.

    Raises:
      UserError: a key is not a string, or holds a section that it is part of.
    """
    above = (*above, config)
    try:
        keys = list(config)
    except TypeError as error:  # A ConfigDict sorts its keys, which it cannot if they are of several types.
        raise UserError(f"{where} has keys of several types: they must be strings") from error
    for key in keys:
        if not isinstance(key, str):
            raise UserError(f"{where} has the key {key!r}: it must be a string")
        if isinstance(config[key], ConfigDict):
            if any(config[key] is section for section in above):
                raise UserError(f"{where}.{key} holds a section that it is part of: it must be a section of its own")
            check_keys(config[key], f"{where}.{key}", above)


def validate(config: ConfigDict) -> None:
    """Checks every value of a config, by itself and together with the others.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config() returned {config!r}: it must return an ml_collections.ConfigDict")
    check_keys(config)
    flat = flatten(config)
    for path in flat:
        if not is_key(path) and not is_of_space(path) and not path.startswith(f"{augment.SECTION}."):
            raise unknown_key(path)
    for path, key in FIELDS.items():
        if path.startswith("sweep.") and "sweep" not in config:
            continue
        if path not in flat and not open_sections.is_whole(path):
            raise UserError(f"config.{path} is missing: it must be {key.allowed}")
        if path in flat and not key.accepts(flat[path]):
            raise bad_value(path, flat[path])
    open_sections.check(flat)
    augment.check(flat)
    objective.check(flat, objective.figures(flat))
    validate_together(flat)
    if "sweep" in config and not FIELDS["seed"].accepts(last := flat["seed"] + flat["sweep.executions"] - 1):
        raise UserError(f"config.seed={flat['seed']} is not allowed: the last execution's seed would be {last}")


# The keys that `validate_together` reads.
TOGETHER = (
    "model.norm",
    "model.groups",
    "model.groups_fit",
    "model.channels_per_group",
    "model.name",
    "model.args.filters",
    "jit_compile",
    "deterministic",
    "schedule.name",
    "schedule.warmup_epochs",
    "schedule.min_learning_rate",
    "epochs",
    "optimizer.learning_rate",
)


def validate_together(flat: Mapping[str, Any]) -> None:
    """Checks that the values of a config, each valid by itself, fit together.

    Args:
      flat: the config as `flatten` returns it; the paths in `TOGETHER` are enough.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    if flat["model.norm"] == "keep" and flat.get("model.name") in open_sections.SECTIONS["model"].built_in:
        raise UserError(
            f"config.model.norm='keep' is not allowed: {flat['model.name']!r} has no norm of its own; "
            "it must be the name of one, such as 'batch'"
        )
    if flat["model.norm"] == "group" and flat.get("model.name") == "cnn":
        _check_groups(flat)
    if flat["jit_compile"] and flat["deterministic"]:
        raise UserError(
            "config.jit_compile=True is not allowed with config.deterministic=True: TensorFlow has no deterministic "
            "max pooling under XLA; add --config.deterministic=false"
        )
    if flat["schedule.name"] == "cosine" and flat["schedule.warmup_epochs"] >= flat["epochs"]:
        raise UserError(
            f"config.schedule.warmup_epochs={flat['schedule.warmup_epochs']} is not allowed: it must be "
            f"less than config.epochs={flat['epochs']}"
        )
    if flat["schedule.name"] != "constant" and flat["schedule.min_learning_rate"] > flat["optimizer.learning_rate"]:
        raise UserError(
            f"config.schedule.min_learning_rate={flat['schedule.min_learning_rate']} is not allowed: it must be "
            f"at most config.optimizer.learning_rate={flat['optimizer.learning_rate']}"
        )


def _check_groups(flat: Mapping[str, Any]) -> None:
    # The channels of other networks are known once these are built (gnexp/training/check.py).
    filters = tuple(open_sections.value("model.args.filters", flat))
    asked = tuple(flat[path] for path in ("model.groups", "model.groups_fit", "model.channels_per_group"))
    try:
        for width in filters:
            groups.count(width, *asked)
    except ValueError as error:
        allowed = groups.in_words(math.gcd(*filters))
        if asked[2]:
            wrong, allowed = f"config.model.channels_per_group={asked[2]}", f"{allowed}, or 0 (config.model.groups)"
        else:
            wrong, allowed = f"config.model.groups={asked[0]}", f"{allowed}, or -1 (a group per channel)"
        raise UserError(
            f"{wrong} does not divide the channels of every layer in config.model.args.filters={filters}: "
            f"it must be one of {allowed}; or add --config.model.groups_fit=gcd"
        ) from error
