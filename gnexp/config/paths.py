"""Dotted paths: the one name that a hyperparameter has everywhere.

`model.groups` is the key in `schema.FIELDS`, the flag `--config.model.groups`, the column in TensorBoard and the key in
a workdir's records.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

SPACE = "sweep.space"
AUGMENT = "augment"  # layers with their arguments, of which there may be none
ARGS = "args"  # the keyword arguments of a section's function, of which there may be none


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a config as one level, keyed by dotted path; an empty `args` or `augment` is left out."""
    flat = {}
    for key, value in config.items():
        section = isinstance(value, (Mapping, ConfigDict))
        if section and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        elif not section or not (key in (ARGS, AUGMENT) or prefix.startswith(f"{SPACE}.")):
            flat[prefix + key] = value
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a flat config as plain nested dicts; the inverse of `flatten`."""
    found: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, key = path.split(".")
        section = found
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return found


def is_of_space(path: str) -> bool:
    """Tells whether a dotted path is `sweep.space`, the table of what a sweep searches, or something in it."""
    return path == SPACE or path.startswith(f"{SPACE}.")
