"""How a workdir keeps a config, and how a training or a sweep resumes with it."""

import copy
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from gnexp.config.defaults import fill_in
from gnexp.config.named import Named
from gnexp.config.open_sections import SECTIONS
from gnexp.config.paths import ARGS, flatten, nested
from gnexp.config.schema import FIELDS, field
from gnexp.errors import UserError

# These keys do not change what is trained: where the data is, where trials run and how many at a time. A sweep may also
# be extended when it resumes.
_MAY_CHANGE = frozenset(path for path, known in FIELDS.items() if known.may_change)
# As in gnexp/config/base.py: a number may be changed to a word.
_OF_ANY_TYPE = ("validation", "test", "memory")
_OWN_FIRST = "own_first"

# What every config that was ever stored has, and its readers rely on.
_ALWAYS = (
    "seed",
    "epochs",
    "objective",
    "data.name",
    "data.batch_size",
    "data.validation",
    "model.norm",
    "model.groups",
    "optimizer.name",
    "optimizer.learning_rate",
    "schedule.name",
    "sweep.tuner",
    "sweep.max_trials",
    "sweep.executions",
)


def to_json(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as plain nested dicts that JSON gives back unchanged (a tuple becomes a list)."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: Mapping[str, Any]) -> ConfigDict:
    """Returns the config for which `to_json` returned `values`; a key that did not exist then has its default."""
    # A list inside a ConfigDict stays one, even when a tuple is assigned to it.
    config = ConfigDict(with_tuples(values))
    config.model, config.data = Named(config.model), Named(config.data)
    fill_in(config)
    config.task = Named(config.task)
    for key in _OF_ANY_TYPE:
        config.data[key] = FieldReference(config.data[key], field_type=object)
    config.task.class_weight = FieldReference(config.task.class_weight, field_type=object)
    return config


def check_stored(values: Any) -> None:
    """Checks what a workdir's `config.json` holds; keys that only a newer or an older gnexp knows may be there or not.

    Raises:
      ValueError: it is not a config, or a value is none that its key may have.
    """
    if not isinstance(values, dict):
        raise ValueError("it holds no config")
    if not isinstance(values.get("sweep", {}), dict):
        raise ValueError("sweep is not a section")
    flat = flatten(values)
    needed = [path for path in _ALWAYS if "sweep" in values or not path.startswith("sweep.")]
    if missing := [path for path in needed if path not in flat]:
        raise ValueError(f"{missing[0]} is missing")
    for path, value in flat.items():
        if path in FIELDS and not FIELDS[path].accepts(value):
            raise ValueError(f"{path}={value!r} is not allowed: it must be {FIELDS[path].allowed}")
    if "sweep" in values and not isinstance(values["sweep"].get("space"), dict):
        raise ValueError("sweep.space is not a table")


def with_tuples(values: Any) -> Any:
    """Returns values that JSON gave back with the tuples that it made lists of."""
    if isinstance(values, Mapping):
        return {key: with_tuples(value) for key, value in values.items()}
    return tuple(values) if isinstance(values, list) else values


def make_absolute(config: Any, folder: pathlib.Path) -> None:
    """Makes the paths in a config absolute, so that it means the same in any folder.

    Args:
      config: a ConfigDict that is not locked, or plain nested dicts.
      folder: what relative paths are relative to.
    """
    for section, kind in SECTIONS.items():
        part = config.get(section)
        args = part.get(ARGS) if isinstance(part, (Mapping, ConfigDict)) else None
        for argument, known_as in kind.arguments.get(part["name"], {}).items() if args else ():
            if known_as.path and isinstance(args.get(argument), str) and args[argument]:
                args[argument] = os.path.normpath(folder.absolute() / pathlib.Path(args[argument]).expanduser())


def record(asked: ConfigDict, dataset: str) -> ConfigDict:
    """Returns the config as it is recorded: with absolute paths, and the dataset actually used.

    A fallback is recorded only if it was needed.
    """
    config = asked.copy_and_resolve_references()
    config.data.fallback = "" if dataset == asked.data.name else dataset
    if dataset != asked.data.name:
        config.data.name, config.data.args = dataset, ConfigDict()
    make_absolute(config, pathlib.Path.cwd())
    return config


def resume_config(asked: ConfigDict, stored: Mapping[str, Any]) -> ConfigDict:
    """Returns the config with which a workdir's training or sweep resumes.

    A training that fell back to another dataset keeps it, even if the one asked for has become available.

    Args:
      asked: the config of this command.
      stored: what the workdir's `config.json` holds (`to_json` of a `record`).

    Raises:
      UserError: naming every key that differs, with both values.
    """
    stored = copy.deepcopy(stored)
    if "sweep" in stored and "sweep" in asked and _OWN_FIRST not in stored["sweep"]:
        # It began before there was the key, and goes on as it began.
        asked = asked.copy_and_resolve_references()
        asked.sweep[_OWN_FIRST] = stored["sweep"][_OWN_FIRST] = stored["sweep"]["tuner"] == "racing"
    fill_in(stored)
    there = flatten(stored)
    if ("sweep" in stored) != ("sweep" in asked):
        raise UserError(
            f"the workdir holds a {_kind(stored)}, and --config is a {_kind(asked)}: give it a --workdir of its own"
        )
    fell_back = there.get("data.fallback") and there["data.fallback"] == asked.data.fallback
    ours = to_json(record(asked, there["data.name"]) if fell_back else asked)
    make_absolute(ours, pathlib.Path.cwd())
    fill_in(ours)
    here = flatten(ours)
    may_change = {path for path in here if path in _MAY_CHANGE or ((known := field(path, here)) and known.may_change)}
    differing = [
        f"config.{path} is {there.get(path)!r} there and {here.get(path)!r} here"
        for path in sorted(there.keys() | here.keys())
        if there.get(path) != here.get(path) and path not in may_change | _MAY_CHANGE
    ]
    if differing:
        raise UserError(
            f"the workdir holds a {_kind(stored)} of another config: {'; '.join(differing)}. "
            "Name another --workdir, or give the values that are there"
        )
    config = from_json(stored)
    # A stored config may be older than a section; `update` adds it.
    config.update(nested({path: here[path] for path in may_change - {"data.fallback"}}))
    return config


def _kind(config: Mapping[str, Any]) -> str:
    return "sweep" if "sweep" in config else "training"
