"""Reads the file that --config names: a program, which is run, or what a sweep wrote, which is data and is not."""

import ast
import contextlib
import importlib.util
import itertools
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from gnexp.config import augment, named, open_sections
from gnexp.config.defaults import fill_in
from gnexp.config.paths import flatten
from gnexp.config.stored import from_json, make_absolute
from gnexp.config.upgrade import upgrade
from gnexp.config.validation import check_keys
from gnexp.errors import UserError, first_line
from gnexp.functions import names, sources
from gnexp.terminal import places
from gnexp.terminal.signals import SignalError

_MODULE = "config_config"  # as ml_collections names it
_OF_A_SWEEP = "best.py"


class ConfigReader(config_flags.ConfigFileFlagParser):
    """Reads a config file; a key that it lacks has its default, so that a flag can change it.

    Attributes:
      named: the names of its open sections, as the flags change them, by dotted path.
      notes: what the user should know about the arguments of these sections, one line each.
    """

    def __init__(self, name: str):
        super().__init__(name)
        self.named: dict[str, Any] = {}
        self.notes: list[str] = []

    def parse(self, path: str) -> Any:
        """Returns the config of `FILE` or `FILE:ARGUMENT`, filled in and locked.

        Raises:
          UserError: the file cannot be read, raises an error, or must not be run.
        """
        config, self.notes = read(path, _given(sys.argv))  # absl shares the parsers of one name.
        self.named = flatten(config) if isinstance(config, ConfigDict) else {}
        return config


def read(path: str, given: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Returns the config of `FILE` or `FILE:ARGUMENT`, filled in and locked, and notes for the user, a line each.

    Args:
      path: of the file, perhaps with an argument.
      given: the values that will replace the config's, by dotted path.

    Raises:
      UserError: the file cannot be read, raises an error, or must not be run.
    """
    name, *argument = path.split(":", 1)
    file = pathlib.Path(name)
    notes: list[str] = []
    try:
        source = file.read_bytes()
        search(file.absolute().parent)
        values = _written_by_gnexp(source)
        if values is None:
            _check_may_run(file)
            config = _run(source, file, argument)
        elif argument:
            raise UserError(f"--config={path} is not allowed: {name} takes no argument")
        else:
            config = from_json(values)
            _search_kept(file.absolute().parent)
        if isinstance(config, ConfigDict):
            notes = complete(config, given)
            with config.unlocked():
                make_absolute(config, file.parent)
    except (UserError, KeyboardInterrupt, SignalError):
        raise
    except BaseException as error:  # A config file is a program, which may raise anything.
        raise UserError(f"--config={name} cannot be read: {_why(error, name)}") from error
    return config, notes


def search(*folders: pathlib.Path) -> None:
    """Lets the user's modules be found in folders and in the current one, unless others may leave modules there."""
    names.search(folder for folder in (*folders, pathlib.Path.cwd()) if not places.anyone_may_add(folder))


def _search_kept(workdir: pathlib.Path) -> None:
    """Lets the user's modules be found in a sweep's copy of them, unless others could have left it there."""
    kept = workdir / sources.KEPT
    if kept.is_dir() and not places.anyone_may_add(workdir):
        search(kept)


def complete(config: ConfigDict, given: Mapping[str, Any]) -> list[str]:
    """Fills a config in and locks it; returns notes for the user, a line each.

    Args:
      config: the config; a key that it lacks gets its default, so that it can be changed.
      given: the values that will replace the config's, by dotted path.

    Raises:
      UserError: a key is not a string, or a section holds itself.
    """
    check_keys(config)
    notes = []
    with config.unlocked():
        upgrade(config)
        for section in open_sections.SECTIONS:
            key = f"{section}.{open_sections.NAME}"
            if dropped := named.choose(config, section, given.get(key)):
                notes.append(dropped)
        fill_in(config)
        for argument in filter(open_sections.of, given):
            named.make_room(config, argument)
        for argument in filter(augment.of, given):
            augment.make_room(config, argument)
    config.lock()
    return notes


def _given(argv: Sequence[str]) -> dict[str, str]:
    """Returns the values of the flags --config.KEY, as they were typed, by key."""
    found = {}
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        if named := re.fullmatch(r"--?(?:no)?config\.([^=]*)(?:=(.*))?", argument, re.DOTALL):
            found[named[1]] = following if named[2] is None else named[2]
    return found


def _written_by_gnexp(source: bytes) -> Any | None:
    """Returns what a config file as `best.py` gives to `from_json`; None for any other, which is a program."""
    try:
        match [node for node in ast.parse(source).body if not _is_text(node)]:
            case [
                ast.ImportFrom(module="gnexp.config", names=[ast.alias(name="from_json", asname=None)], level=0),
                ast.FunctionDef(name="get_config", body=body, decorator_list=[]),
            ]:
                pass
            case _:
                return None
        match [node for node in body if not _is_text(node)]:
            case [ast.Return(value=ast.Call(func=ast.Name(id="from_json"), args=[values], keywords=[]))]:
                return ast.literal_eval(values)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _check_may_run(file: pathlib.Path) -> None:
    """Refuses a `best.py` that no sweep wrote, where others could have: who names it takes it for data."""
    if file.name != _OF_A_SWEEP:
        return
    for path in (file, file.resolve().parent):
        if who := places.who_may_write(path):
            raise UserError(
                f"--config={file} is not allowed: it is not what a sweep writes, and would be run as a program, but "
                f"{who}; copy it to a folder of your own to use it"
            )


def _run(source: bytes, file: pathlib.Path, argument: list[str]) -> Any:
    """Runs a config file, without the compiled copy that may lie beside it, and returns what `get_config` returns."""
    module = types.ModuleType(_MODULE)
    module.__file__ = str(file)
    sys.modules[_MODULE] = module
    with _own_folder(file.absolute().parent):
        exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)
        return module.get_config(*argument)


@contextlib.contextmanager
def _own_folder(folder: pathlib.Path) -> Iterator[None]:
    """Lets a config import what is in its own folder by `from FOLDER import other`, too.

    The folder above is nobody's concern: others may leave modules there that TensorFlow would import.
    """
    name = folder.name
    if places.anyone_may_add(folder):
        yield
        return
    if not name.isidentifier() or importlib.util.find_spec(name):
        yield
        return
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    try:
        yield
    finally:
        del sys.modules[name]


def _why(error: BaseException, name: str) -> str:
    """Returns an error of a config file in one line, with the file's line that led to it."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"
    said = first_line(traceback.format_exception_only(error)[0]).removeprefix(f"{_MODULE}.")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return said + (f" (line {lines[-1]})" if lines else "")
