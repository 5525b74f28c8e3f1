"""An open section of a config: `name`, and in `args` its arguments."""

from typing import Any

from ml_collections import ConfigDict

from gnexp.config.paths import ARGS

NAME = "name"


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
