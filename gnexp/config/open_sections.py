"""The sections whose `name` is a function, built in or the user's own, and whose `args` are its keyword arguments.

`args` is open: its keys are the function's parameters. What can be checked without importing it is checked here.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from gnexp.config import arguments
from gnexp.config.fields import Field, Kind
from gnexp.config.objective import FIGURES
from gnexp.config.paths import ARGS, AUGMENT, SPACE
from gnexp.errors import UserError
from gnexp.functions import names, signature
from gnexp.functions.signature import REQUIRED, Parameter, Signature

NAME = "name"


@dataclasses.dataclass(frozen=True)
class Open:
    """An open section.

    Attributes:
      built_in: the functions, `package.module:function`, by their names in a config.
      arguments: the fields of their arguments, likewise; of other functions, the signature says what there is.
      given: the parameters that gnexp itself gives, so that `args` cannot.
      not_searched: why a sweep cannot search the arguments; empty if it can.
    """

    built_in: Mapping[str, str]
    arguments: Mapping[str, Mapping[str, Field]]
    given: frozenset[str]
    not_searched: str = ""

    def accepts(self, name: Any) -> bool:
        """Tells whether a section may have a name."""
        return isinstance(name, str) and (name in self.built_in or names.is_name(name))

    @property
    def allowed(self) -> str:
        """What the name may be, in words."""
        return f"one of {', '.join(map(repr, self.built_in))}, or 'package.module:function' for one of your own"


_GIVEN_TO_NETWORKS = frozenset(
    {
        "inputs",
        "input_tensor",
        "input_shape",
        "outputs",
        "classes",
        "num_classes",
        "classifier_activation",
        "norm",
        "per_pixel",
    }
)
SECTIONS: Mapping[str, Open] = {
    "model": Open(
        built_in={name: f"gnexp.models.{name}:build" for name in arguments.MODELS},
        arguments=arguments.MODELS,
        given=_GIVEN_TO_NETWORKS,
    ),
    "data": Open(
        built_in={name: f"gnexp.data.{name}:read" for name in arguments.DATASETS},
        arguments=arguments.DATASETS,
        given=frozenset({"data_directory"}),
        not_searched="a sweep has one dataset",
    ),
    "task": Open(
        built_in={name: f"gnexp.tasks.{name}:{name.capitalize()}" for name in FIGURES},
        arguments={name: {} for name in FIGURES},  # They have keys of their own.
        given=frozenset({"splits", "label_smoothing", "top_k", "class_weight"}),
    ),
}


def of(path: str) -> tuple[str, str] | None:
    """Returns the section and the argument that a dotted path names, or None if it names no argument."""
    section, _, argument = path.partition(f".{ARGS}.")
    return (section, argument) if argument and section in SECTIONS else None


def is_whole(path: str) -> bool:
    """Tells whether a dotted path is an open table as a whole: the `args` of a section, or `data.augment`."""
    section, _, rest = path.rpartition(".")
    return (rest == ARGS and section in SECTIONS) or path == f"data.{AUGMENT}"


def function(section: str, name: str) -> str:
    """Returns the `package.module:function` that a name stands for."""
    return SECTIONS[section].built_in.get(name, name)


def users(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the functions in a config, or in plain nested dicts, that are not built in, by section."""
    found = {section: config[section][NAME] for section in SECTIONS if section in config}
    found = {section: name for section, name in found.items() if name not in SECTIONS[section].built_in}
    task = config.get("task") or {}
    further = [task.get("loss", ""), *task.get("figures", ())]
    return found | {f"task.{name}": name for name in further if ":" in name}


def read(section: str, name: Any) -> Signature | None:
    """Returns what a section's function takes in `args`, from its source; None if the source does not tell.

    Raises:
      UserError: naming the key; there is no such module or function, or the source is not valid Python.
    """
    if not SECTIONS[section].accepts(name):
        return None
    try:
        found = signature.of(function(section, name))
    except UserError as error:
        raise UserError(f"config.{section}.{NAME}={name!r}: {error}") from error
    return found and without_given(section, found)


def known(section: str, name: Any) -> Signature | None:
    """Returns what `read` does, and None where that raises: a stored config outlives its function."""
    try:
        return read(section, name)
    except UserError:
        return None


def value(path: str, flat: Mapping[str, Any]) -> Any:
    """Returns an argument of a flat config, or its default if it is not given; None if that is not known."""
    if path in flat:
        return flat[path]
    section, argument = of(path)
    found = known(section, flat.get(f"{section}.{NAME}"))
    parameter = found and found.get(argument)
    return parameter.default if parameter and is_plain(parameter.default) else None


def without_given(section: str, found: Signature) -> Signature:
    """Returns a signature without the parameters that gnexp itself gives."""
    left = tuple(each for each in found.parameters if each.name not in SECTIONS[section].given)
    if found.get("weights") and found.get("classes"):
        # As in keras.applications, whose weights of ImageNet are a download, and for 1000 classes.
        none = {"default": None, "optional": True}
        left = tuple(dataclasses.replace(each, **none) if each.name == "weights" else each for each in left)
    return Signature(left, found.open)


def field(path: str, named: Mapping[str, Any]) -> Field | None:
    """Returns the field of an argument, or None if its section's function has no such argument.

    Args:
      path: its dotted path.
      named: a flat config, or at least the names of its open sections.
    """
    section, argument = of(path)
    name = named.get(f"{section}.{NAME}")
    if name is None:
        return None
    if name in SECTIONS[section].built_in:
        known_as = SECTIONS[section].arguments[name].get(argument)
        why = SECTIONS[section].not_searched
        return dataclasses.replace(known_as, not_searched=why) if known_as and why else known_as
    found = known(section, name)
    first = argument.partition(".")[0]
    if not found or (found.open and not found.get(first)):
        return _field(section, Parameter(first))
    return _field(section, parameter) if (parameter := found.get(first)) else None


def _field(section: str, parameter: Parameter) -> Field:
    return of_parameter(parameter, SECTIONS[section].not_searched)


def of_parameter(parameter: Parameter, not_searched: str = "") -> Field:
    """Returns the field of a function's parameter; `not_searched` is why a sweep cannot search it."""
    several = "it holds several values" if parameter.kind is tuple else ""
    return Field(
        Kind(lambda value: is_plain(value) and parameter.accepts(value), parameter.allowed),
        f"as in the function's `{parameter}`",
        not_searched=not_searched or several,
        several=bool(several),
    )


def is_plain(value: Any) -> bool:
    """Tells whether an argument's value can be stored, and is the same when it is read again."""
    if isinstance(value, (tuple, list)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


def check(flat: Mapping[str, Any]) -> None:
    """Checks the functions of a config as far as their sources tell: that they are there, and their arguments.

    Args:
      flat: the config as `flatten` returns it.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    for section in SECTIONS:
        name = flat[f"{section}.{NAME}"]
        found = read(section, name)
        for path in (path for path in flat if path.startswith(f"{section}.{ARGS}.")):
            check_there(f"config.{path}", section, name, of(path)[1], found)
            accepted = field(path, flat)
            if accepted and not accepted.accepts(flat[path]):
                raise UserError(f"config.{path}={flat[path]!r} is not allowed: it must be {accepted.allowed}")
        for parameter in found.parameters if found else ():
            path = f"{section}.{ARGS}.{parameter.name}"
            known = any(given == path or given.startswith((f"{path}.", f"{SPACE}.{path}.")) for given in flat)
            if parameter.default is REQUIRED and not known:
                raise _lacking(section, name, parameter, found)


def check_there(where: str, section: str, name: str, argument: str, found: Signature | None) -> None:
    """Checks that a section's function takes an argument.

    Args:
      where: its path in the message.
      section: of the config.
      name: its name.
      argument: the argument; of a nested one, the first part is the function's.
      found: what the function takes in `args` (`without_given`); None if that is not known.

    Raises:
      UserError: naming the key, and what is allowed.
    """
    first = argument.partition(".")[0]
    if first in SECTIONS[section].given:
        raise UserError(f"{where} is not allowed: gnexp itself gives {first!r} to {name!r}")
    if found and not found.open and not found.get(first):
        near = difflib.get_close_matches(first, found.names, n=1)
        hint = f"did you mean {near[0]!r}? It" if near else "it"
        raise UserError(f"{where}: {name!r} has no such argument; {hint} {takes(found)}")


def arguments_of(section: str, name: str, args: Mapping[str, Any], takes_all: Signature) -> dict[str, Any]:
    """Returns the arguments that a section gives to its function, once it has been imported and its signature is known.

    Args:
      section: of the config.
      name: its name.
      args: its `args`, as plain values.
      takes_all: the signature of the function.

    Raises:
      UserError: it takes no such argument, or lacks one that it needs.
    """
    accepted = without_given(section, takes_all)
    for argument in args:
        check_there(f"config.{section}.{ARGS}.{argument}", section, name, argument, accepted)
    for parameter in accepted.parameters:
        if parameter.default is REQUIRED and parameter.name not in args:
            raise _lacking(section, name, parameter, accepted)
    return dict(args)


def _lacking(section: str, name: str, parameter: Parameter, found: Signature) -> UserError:
    return UserError(f"config.{section}.{ARGS}.{parameter.name} is missing: {name!r} needs it, and {takes(found)}")


def takes(found: Signature) -> str:
    """Returns what a function takes, in words."""
    return f"takes {', '.join(map(str, found.parameters)) or 'no arguments'}"
