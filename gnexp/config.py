"""What a config may hold, and the messages for one that holds something else.

A hyperparameter has one name everywhere, its dotted path (`model.groups`): it is the key of `FIELDS`, the command line
flag `--config.model.groups`, the column in TensorBoard and the key in a workdir's records. Nothing here imports
TensorFlow, so that a mistake is answered at once.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Field:
    """What one dotted path may hold: a test of the value, and the same in words."""

    accepts: Callable[[Any], bool]
    allowed: str


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# What float32 holds with room to spare; NaN is in no range.
_SMALLEST, _LARGEST = 1e-30, 1e30


def _is_number(value: Any) -> bool:
    return (_is_integer(value) or isinstance(value, float)) and -_LARGEST <= value <= _LARGEST


def _integer(minimum: int) -> Field:
    return Field(lambda value: _is_integer(value) and minimum <= value <= 10**9, f"a whole number of {minimum} or more")


def _boolean() -> Field:
    return Field(lambda value: isinstance(value, bool), "true or false")


def _choice(*names: str) -> Field:
    return Field(lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(map(repr, names)))


def _positive() -> Field:
    return Field(lambda value: _is_number(value) and value >= _SMALLEST, "a number above 0 (1e-30 to 1e30)")


def _non_negative() -> Field:
    return Field(lambda value: _is_number(value) and value >= 0, "a number of 0 or more")


def _fraction() -> Field:
    return Field(lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 up to, but not, 1")


def _is_validation(value: Any) -> bool:
    return value == "test" or (_is_integer(value) and value >= 1) or (_is_number(value) and 0 < value < 1)


def _is_filters(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and 1 <= len(value) <= 8
        and all(_is_integer(item) and item >= 1 for item in value)
    )


BACKENDS = ("tensorflow", "jax")
OBJECTIVES = {"val_accuracy": "max", "val_loss": "min"}
DATASETS = ("fashion_mnist", "digits")
NORMS = ("group", "batch", "layer", "instance", "instance_scalar", "none")

FIELDS: Mapping[str, Field] = {
    "seed": Field(lambda value: _is_integer(value) and 0 <= value < 2**32, "a whole number from 0 to 4294967295"),
    "epochs": _integer(1),
    "objective": _choice(*OBJECTIVES),
    "deterministic": _boolean(),
    "precision": _choice("float32", "mixed_float16", "mixed_bfloat16"),
    "jit_compile": _boolean(),
    "data.name": _choice(*DATASETS),
    "data.fallback": _choice("", *DATASETS),
    "data.directory": Field(lambda value: isinstance(value, str), "the path of a folder, or ''"),
    "data.batch_size": _integer(1),
    "data.validation": Field(_is_validation, "a fraction between 0 and 1, a count of 1 or more, or 'test'"),
    "model.norm": _choice(*NORMS),
    "model.groups": Field(lambda value: _is_integer(value) and (value >= 1 or value == -1), "1 or more, or -1"),
    "model.epsilon": _positive(),
    "model.filters": Field(_is_filters, "1 to 8 whole numbers of 1 or more, such as (32, 64)"),
    "model.units": _integer(1),
    "model.conv_dropout": _fraction(),
    "model.dense_dropout": _fraction(),
    "model.l2": _non_negative(),
    "optimizer.name": _choice("adam", "amsgrad", "adamw", "sgd", "rmsprop", "lion"),
    "optimizer.learning_rate": _positive(),
    "optimizer.momentum": _fraction(),
    "optimizer.nesterov": _boolean(),
    "optimizer.weight_decay": _non_negative(),
    "schedule.name": _choice("constant", "cosine", "plateau"),
    "schedule.warmup_epochs": _non_negative(),
    "schedule.factor": Field(lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1"),
    "schedule.patience": _integer(1),
    "schedule.min_learning_rate": _non_negative(),
}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a config as one level, keyed by dotted path."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (Mapping, ConfigDict)) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def unknown_key(path: str) -> UserError:
    """Returns the error for a dotted path that no config holds, with the nearest one that it does."""
    if any(known.startswith(f"{path}.") for known in FIELDS):
        return UserError(f"config.{path} is a section: name one of its keys, such as config.{_first_key(path)}")
    near = difflib.get_close_matches(path, FIELDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "allowed: " + ", ".join(FIELDS)
    return UserError(f"config.{path}: there is no such key; {hint}")


def _first_key(section: str) -> str:
    return next(path for path in FIELDS if path.startswith(f"{section}."))


def bad_value(path: str, value: Any) -> UserError:
    """Returns the error for a value that the field at a dotted path does not accept."""
    return UserError(f"config.{path}={value!r} is not allowed: it must be {FIELDS[path].allowed}")


def validate(config: ConfigDict) -> None:
    """Checks every value of a config, alone and together with the others.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config() returned {config!r}: it must return an ml_collections.ConfigDict")
    flat = flatten(config)
    for path in flat:
        if path not in FIELDS:
            raise unknown_key(path)
    for path, field in FIELDS.items():
        if path not in flat:
            raise UserError(f"config.{path} is missing: it must be {field.allowed}")
        if not field.accepts(flat[path]):
            raise bad_value(path, flat[path])
    _validate_together(flat)


def _validate_together(flat: Mapping[str, Any]) -> None:
    groups, filters = flat["model.groups"], tuple(flat["model.filters"])
    if flat["model.norm"] == "group" and groups != -1 and any(width % groups for width in filters):
        common = math.gcd(*filters)
        allowed = ", ".join(str(count) for count in range(1, common + 1) if common % count == 0)
        raise UserError(
            f"config.model.groups={groups} does not divide the channels of every layer in "
            f"config.model.filters={filters}: it must be one of {allowed}, or -1 (a group per channel)"
        )
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


def to_json(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as plain nested dicts that JSON gives back unchanged (a tuple becomes a list)."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: Mapping[str, Any]) -> ConfigDict:
    """Returns the config that `to_json` gave `values` for."""
    # A list inside a ConfigDict stays one, even when a tuple is assigned to it.
    return ConfigDict({**values, "model": {**values["model"], "filters": tuple(values["model"]["filters"])}})


def record(asked: ConfigDict, dataset: str) -> ConfigDict:
    """Returns the config as it is recorded: with the dataset really used, and a fallback only where it was needed."""
    config = asked.copy_and_resolve_references()
    config.data.fallback = "" if dataset == asked.data.name else dataset
    config.data.name = dataset
    return config


def settle(asked: ConfigDict, stored: Mapping[str, Any]) -> ConfigDict:
    """Returns the config that a workdir's training goes on with.

    A training that fell back to another dataset stays with it, whether or not the one asked for can be had by now.
    Where the data lies is no part of what is trained: it may have moved.

    Args:
      asked: the config of this command.
      stored: what the workdir's `config.json` holds (`to_json` of a `record`).

    Raises:
      UserError: naming every key that differs, with both values.
    """
    there = flatten(stored)
    fell_back = there.get("data.fallback") and there["data.fallback"] == asked.data.fallback
    here = flatten(to_json(record(asked, there["data.name"]) if fell_back else asked))
    differing = [
        f"config.{path} is {there.get(path)!r} there, {here.get(path)!r} here"
        for path in sorted(there.keys() | here.keys())
        if there.get(path) != here.get(path) and path not in ("data.fallback", "data.directory")
    ]
    if differing:
        raise UserError("the workdir holds a training of another config: " + "; ".join(differing))
    config = from_json(stored)
    config.data.directory = asked.data.directory
    return config
