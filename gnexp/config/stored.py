"""A config as a workdir keeps it, and as a training or a sweep is resumed with it."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from gnexp.config.paths import flatten, nested
from gnexp.config.schema import FIELDS
from gnexp.errors import UserError

# Where the data lies is no part of what is trained, nor where trials run and how many at a time; and a sweep may be
# resumed for longer than it was first meant to run.
_MAY_CHANGE = frozenset(path for path, field in FIELDS.items() if field.may_change)


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


def resume_config(asked: ConfigDict, stored: Mapping[str, Any]) -> ConfigDict:
    """Returns the config that a workdir's training is resumed with.

    A training that fell back to another dataset stays with it, even if the one asked for is available by now.

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
        f"config.{path} is {there.get(path)!r} there and {here.get(path)!r} here"
        for path in sorted(there.keys() | here.keys())
        if there.get(path) != here.get(path) and path not in _MAY_CHANGE
    ]
    if differing:
        raise UserError(
            f"the workdir holds a {_kind(stored)} of another config: {'; '.join(differing)}. "
            "Name another --workdir, or give the values that are there"
        )
    config = from_json(stored)
    # What is stored may be older than a section, which `update` makes.
    config.update(nested({path: here[path] for path in _MAY_CHANGE - {"data.fallback"} if path in here}))
    return config


def _kind(config: Mapping[str, Any]) -> str:
    return "sweep" if "sweep" in config else "training"
