"""Open sections as a config holds them: with another name, arguments go; from a signature, defaults come."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from gnexp.config.open_sections import NAME, SECTIONS, is_plain, known, of
from gnexp.config.paths import ARGS
from gnexp.functions.signature import REQUIRED, UNREADABLE, Parameter


class _OrPlain(type):
    """Lets a plain ConfigDict take the place of a `Named`: ConfigDict accepts only a value of the former type."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, ConfigDict)


class Named(ConfigDict, metaclass=_OrPlain):
    """An open section in which another name takes along no argument that was given for the former one."""

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a key; a new `name` empties `args`."""
        args = self.get(ARGS)
        if key == NAME and value != self.get(NAME, value) and isinstance(args, ConfigDict) and args:
            shown = ", ".join(f"{argument}={given!r}" for argument, given in args.items())
            object.__setattr__(self, "dropped", f"{shown}, given for {self[NAME]!r}")
            self._fields[ARGS] = ConfigDict()
        super().__setitem__(key, value)

    def update(self, *other: Any, **values: Any) -> None:
        """Updates values as a ConfigDict does, the name first."""
        for each in (*other, values):
            if NAME in each:
                self[NAME] = each[NAME]
            super().update({key: each[key] for key in each if key != NAME})


def fill_in(config: Any) -> None:
    """Adds the defaults of the arguments that a config does not give, where the function's source tells them.

    Args:
      config: a ConfigDict that is not locked, or the plain nested dicts of a stored config. A section whose function
        cannot be found stays as it is.
    """
    for section in SECTIONS:
        part = config.get(section) if isinstance(config, (Mapping, ConfigDict)) else None
        if not isinstance(part, (Mapping, ConfigDict)) or not isinstance(part.get(ARGS), (Mapping, ConfigDict)):
            continue
        found = known(section, part.get(NAME))
        for parameter in found.parameters if found else ():
            if parameter.name not in part[ARGS] and parameter.default not in (REQUIRED, UNREADABLE):
                _add(part[ARGS], parameter)


def _add(args: Any, parameter: Parameter) -> None:
    value = parameter.default
    if not is_plain(value):
        return
    if isinstance(args, ConfigDict):
        # A flag needs to know the type, which None alone would not tell.
        value = tuple(value) if isinstance(value, list) else value
        args[parameter.name] = value if value is not None else FieldReference(None, parameter.kind or object)
    else:
        args[parameter.name] = list(value) if isinstance(value, tuple) else value


def choose(config: ConfigDict, section: str, name: str | None) -> str:
    """Gives a section the name that a flag asks for, without the arguments of the former one.

    Args:
      config: not locked.
      section: of the config.
      name: the name, or None for the config's own.

    Returns:
      In words, which arguments were dropped, here or by the config file; "" if none were.
    """
    part = config.get(section)
    if not isinstance(part, ConfigDict):
        return ""
    part = part if type(part) is Named else Named(part)
    config._fields[section] = part
    if name is not None and isinstance(part.get(NAME), str):
        part[NAME] = name
    dropped = part.__dict__.pop("dropped", "")
    return dropped and f"config.{section}.{NAME} is {part[NAME]!r}: dropped {dropped}"


def make_room(config: ConfigDict, path: str) -> None:
    """Adds to an unlocked config an argument that a flag sets and that it lacks, so that the flag can be read."""
    section, argument = of(path)
    part = config.get(section)
    args = part.get(ARGS) if isinstance(part, ConfigDict) else None
    if not isinstance(args, ConfigDict) or "." in argument or argument in args:
        return
    found = known(section, part.get(NAME))
    parameter = found and found.get(argument)
    args[argument] = FieldReference(None, (parameter and parameter.kind) or object)
