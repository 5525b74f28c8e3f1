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

from ml_collections import ConfigDict, FieldReference

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


def _integer(minimum: int, maximum: int = 10**9) -> Field:
    allowed = f"a whole number of {minimum} or more" if maximum == 10**9 else f"a whole number, {minimum} to {maximum}"
    return Field(lambda value: _is_integer(value) and minimum <= value <= maximum, allowed)


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


def _is_share(value: Any) -> bool:
    return _is_number(value) and value >= 0 and (value < 1 or value == int(value))


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
EXECUTORS = ("serial", "processes", "ray")
TUNERS = ("random", "grid", "bayesian", "hyperband")

# Four digits in the names of a sweep's trials, whatever max_trials is raised to.
_MOST_TRIALS = 9999
_SPACE = "sweep.space"

FIELDS: Mapping[str, Field] = {
    "seed": _integer(0, 2**32 - 1),
    "epochs": _integer(1),
    "objective": _choice(*OBJECTIVES),
    "deterministic": _boolean(),
    "precision": _choice("float32", "mixed_float16", "mixed_bfloat16"),
    "jit_compile": _boolean(),
    "native": _boolean(),
    "data.name": _choice(*DATASETS),
    "data.fallback": _choice("", *DATASETS),
    "data.directory": Field(lambda value: isinstance(value, str), "the path of a folder, or ''"),
    "data.batch_size": _integer(1),
    "data.train_size": _integer(0),
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
    # Of a sweep alone; what its table `sweep.space` may hold is gnexp/space.py's.
    "sweep.tuner": _choice(*TUNERS),
    "sweep.max_trials": _integer(1, _MOST_TRIALS),
    "sweep.executions": _integer(1, 1000),
    "sweep.max_failures": _integer(1),
    "sweep.seed": _integer(0, 2**31 - 1),
    "sweep.factor": _integer(2),
    "sweep.executor": _choice(*EXECUTORS),
    "sweep.parallel": _integer(1, 1000),
    "sweep.resources.cpus": _integer(1),
    "sweep.resources.gpus": Field(_is_share, "a whole number of 0 or more, or a fraction of one GPU such as 0.5"),
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


def is_of_space(path: str) -> bool:
    """Tells whether a dotted path is a sweep's table of what it searches, or something in that table."""
    return path == _SPACE or path.startswith(f"{_SPACE}.")


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
        if path not in FIELDS and not is_of_space(path):
            raise unknown_key(path)
    for path, field in FIELDS.items():
        if path.startswith("sweep.") and "sweep" not in config:
            continue
        if path not in flat:
            raise UserError(f"config.{path} is missing: it must be {field.allowed}")
        if not field.accepts(flat[path]):
            raise bad_value(path, flat[path])
    validate_together(flat)
    if "sweep" in config and not FIELDS["seed"].accepts(last := flat["seed"] + flat["sweep.executions"] - 1):
        raise UserError(f"config.seed={flat['seed']} is not allowed: the last execution's seed would be {last}")


# What `validate_together` looks at.
TOGETHER = (
    "model.norm",
    "model.groups",
    "model.filters",
    "jit_compile",
    "deterministic",
    "schedule.name",
    "schedule.warmup_epochs",
    "schedule.min_learning_rate",
    "epochs",
    "optimizer.learning_rate",
)


def validate_together(flat: Mapping[str, Any]) -> None:
    """Checks what the values of a config, each good by itself, are together.

    Args:
      flat: a config's `flatten`; the paths in `TOGETHER` are enough.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
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
    config = ConfigDict(_with_tuples(values))
    # As in configs/fmnist.py: a fraction may be changed to a count or to a word.
    config.data.validation = FieldReference(config.data.validation, field_type=object)
    return config


def _with_tuples(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _with_tuples(value) for key, value in values.items()}
    return tuple(values) if isinstance(values, list) else values


def record(asked: ConfigDict, dataset: str) -> ConfigDict:
    """Returns the config as it is recorded: with the dataset really used, and a fallback only where it was needed."""
    config = asked.copy_and_resolve_references()
    config.data.fallback = "" if dataset == asked.data.name else dataset
    config.data.name = dataset
    return config


def settle(asked: ConfigDict, stored: Mapping[str, Any]) -> ConfigDict:
    """Returns the config that a workdir's training goes on with.

    A training that fell back to another dataset stays with it, whether or not the one asked for can be had by now.

    Args:
      asked: the config of this command.
      stored: what the workdir's `config.json` holds (`to_json` of a `record`).

    Raises:
      UserError: naming every key that differs, with both values.
    """
    there = flatten(stored)
    if ("sweep" in stored) != ("sweep" in asked):
        raise UserError(
            f"the workdir holds a {_kind(stored)}, and --config is a {_kind(asked)}: give it a --workdir of its own"
        )
    fell_back = there.get("data.fallback") and there["data.fallback"] == asked.data.fallback
    here = flatten(to_json(record(asked, there["data.name"]) if fell_back else asked))
    differing = [
        f"config.{path} is {there.get(path)!r} there, {here.get(path)!r} here"
        for path in sorted(there.keys() | here.keys())
        if there.get(path) != here.get(path) and path not in _MAY_CHANGE
    ]
    if differing:
        raise UserError(f"the workdir holds a {_kind(stored)} of another config: " + "; ".join(differing))
    config = from_json(stored)
    # What is stored may be older than a section, which `update` makes.
    config.update(_nested({path: here[path] for path in _MAY_CHANGE - {"data.fallback"} if path in here}))
    return config


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, key = path.split(".")
        section = nested
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return nested


# Where the data lies is no part of what is trained, nor where trials run and how many at a time; and a sweep may go on
# for longer than it was first meant to.
_MAY_CHANGE = frozenset(
    {
        "data.fallback",
        "data.directory",
        "sweep.max_trials",
        "sweep.max_failures",
        "sweep.executor",
        "sweep.parallel",
        "sweep.resources.cpus",
        "sweep.resources.gpus",
    }
)


def _kind(config: Mapping[str, Any]) -> str:
    return "sweep" if "sweep" in config else "training"
