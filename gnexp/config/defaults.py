"""The keys that a config may lack: older configs and workdirs do, from before the keys existed."""

import copy
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from gnexp.config import named
from gnexp.config.fields import REQUIRED
from gnexp.config.schema import FIELDS
from gnexp.config.upgrade import upgrade

_NEWER = ("task",)  # sections that older configs do not have


def fill_in(config: Any) -> None:
    """Adds every key that a config lacks and that has a default, in the sections that it has.

    What an older config has under another name is moved to the present one before.

    Args:
      config: a ConfigDict, which must not be locked if it lacks a key, or the plain nested dicts of a stored config.
        Anything else is left as it is.
    """
    upgrade(config)
    for path, field in FIELDS.items():
        *sections, key = path.split(".")
        section = config
        for name in sections:
            if name in _NEWER and _is_section(section) and "model" in section and name not in section:
                section[name] = ConfigDict() if isinstance(section, ConfigDict) else {}
            section = section[name] if _is_section(section) and name in section else None
        if field.default is not REQUIRED and _is_section(section) and key not in section:
            section[key] = copy.deepcopy(field.default)
            if isinstance(field.default, tuple) and not isinstance(section, ConfigDict):
                section[key] = list(field.default)  # as JSON has it
            if isinstance(section, ConfigDict) and field.several and not isinstance(field.default, tuple):
                section[key] = FieldReference(field.default, field_type=object)  # It may change to several values.
    named.fill_in(config)


def _is_section(value: Any) -> bool:
    return isinstance(value, (Mapping, ConfigDict))
