"""The keys that older versions had under other names: configs, workdirs, kept results and command lines have them."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config.paths import ARGS, SPACE

_OF_THE_CNN = ("filters", "units", "conv_dropout", "dense_dropout", "l2")
RENAMED: Mapping[str, str] = {f"model.{key}": f"model.{ARGS}.{key}" for key in _OF_THE_CNN}


def renamed(path: str) -> str:
    """Returns the present name of a dotted path, of `sweep.space` or a part of an entry there, too."""
    space = f"{SPACE}." if path.startswith(f"{SPACE}.") else ""
    rest = path.removeprefix(space)
    for old, new in RENAMED.items():
        if rest == old or (space and rest.startswith(f"{old}.")):
            return space + new + rest.removeprefix(old)
    return path


def upgrade(config: Any) -> None:
    """Moves what a config holds under older names to the present ones.

    Args:
      config: a ConfigDict that is not locked, or the plain nested dicts of a stored config. Anything else is left as it
        is.
    """
    _move(config)
    space: Any = config
    for name in SPACE.split("."):
        space = space.get(name) if _is_section(space) else None
    if _is_section(space):
        _move(space)
        _rename_parents(space)


def _move(config: Any) -> None:
    for old, new in RENAMED.items():
        (section, key), (_, args, _) = old.split("."), new.split(".")
        part = config.get(section) if _is_section(config) else None
        if not _is_section(part) or key not in part:
            continue
        value = part[key]
        del part[key]
        if args not in part:
            part[args] = ConfigDict() if isinstance(part, ConfigDict) else {}
        if _is_section(part[args]) and key not in part[args]:
            part[args][key] = value


def _rename_parents(space: Any) -> None:
    for value in space.values():
        if _is_section(value):
            if isinstance(parent := value.get("parent"), str):
                value["parent"] = renamed(parent)
            _rename_parents(value)


def with_present_names(state: Any) -> Any:
    """Returns values as JSON has them, in which every key and every text that is an older path is the present one."""
    if isinstance(state, Mapping):
        return {renamed(key): with_present_names(value) for key, value in state.items()}
    if isinstance(state, list):
        return [with_present_names(value) for value in state]
    return renamed(state) if isinstance(state, str) else state


def _is_section(value: Any) -> bool:
    return isinstance(value, (MutableMapping, dict, ConfigDict))
