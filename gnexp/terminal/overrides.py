"""A config as Python gives it: what a command line says, without one."""

import copy
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.config.paths import flatten, is_of_space
from gnexp.config.schema import field, is_key
from gnexp.config.upgrade import renamed
from gnexp.config.validation import unknown_key
from gnexp.errors import UserError, first_line
from gnexp.terminal import command_line, config_reader


def config_of(given: ConfigDict | str | pathlib.Path, overrides: Mapping[str, Any]) -> ConfigDict:
    """Returns a whole and valid config, as the command line gives it for `--config` and flags.

    Args:
      given: a config, which is left as it is, or the path of a config file.
      overrides: what replaces its values, by dotted path, such as "model.groups".

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    command_line.check_environment()
    if not isinstance(overrides, Mapping) or not all(isinstance(path, str) for path in overrides):
        raise UserError(
            f"overrides={overrides!r:.200} is not allowed: it must be a dict of values by dotted path, such as "
            "{'model.groups': 2}"
        )
    values = {renamed(path): value for path, value in overrides.items()}
    for path, value in values.items():
        if callable(value) and not isinstance(value, ConfigDict):
            name = f"{getattr(value, '__module__', 'module')}:{getattr(value, '__qualname__', 'function')}"
            raise UserError(
                f"config.{path}={value!r:.200} is not allowed: a function is given by its name 'module:function', such "
                f"as {name!r}"
            )
    for path in values:
        if (not is_key(path) and not is_of_space(path)) or open_sections.is_whole(path):
            raise unknown_key(path)
    if isinstance(given, (str, pathlib.Path)):
        command_line.check_file(str(given))
        config, notes = config_reader.read(str(given), values)
    elif isinstance(given, ConfigDict):
        config_reader.search()
        config = copy.deepcopy(given)
        notes = config_reader.complete(config, values)
    else:
        raise UserError(f"config={given!r} is not allowed: it must be a ConfigDict or the path of a config file")
    if isinstance(config, ConfigDict):
        for path, value in values.items():
            _replace(config, path, value)
    command_line.check(config, values, notes)
    return config


def _replace(config: ConfigDict, path: str, value: Any) -> None:
    value = value.item() if isinstance(value, np.generic) else value
    *sections, key = path.split(".")
    section: Any = config
    for name in sections:
        section = section.get(name) if isinstance(section, ConfigDict) else None
    of_the_space = is_of_space(path)
    if isinstance(section, ConfigDict) and (key in section or (of_the_space and isinstance(value, ConfigDict))):
        try:
            with section.unlocked():
                section[key] = value
        except (TypeError, ValueError) as error:  # another type than that of the value there
            known = None if of_the_space else field(path, flatten(config))
            allowed = f"it must be {known.allowed}" if known else first_line(error)
            raise UserError(f"config.{path}={value!r} is not allowed: {allowed}") from error
    elif of_the_space or sections[:1] == ["sweep"]:
        raise command_line.no_such_part(f"config.{path}={value!r}", "sweep" in config)
    # Otherwise the config lacks a section, which is reported when it is checked.
