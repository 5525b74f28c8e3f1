"""Imports a function by its name, and says in one line why that or a call of it failed."""

import contextlib
import importlib
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Callable, Collection, Iterator

from gnexp.errors import FunctionError, GnexpError, UserError
from gnexp.functions import names, sources
from gnexp.functions.sources import Code

_imported: dict[str, str] = {}  # the digest of the source from which each module of the user's was imported
_found: dict[str, set[str]] = {}  # by a function's name, the modules that have been imported while it ran
_BOLD = re.compile(r"\x1b\[\d*m")
_OURS = pathlib.Path(__file__).parents[1]


def load(name: str) -> Callable:
    """Returns the function `package.module:function`.

    Raises:
      UserError: there is no such module or function, or the module cannot be imported; with the first cause, its file
        and its line.
    """
    module, _, function = name.partition(":")
    names.find(module)
    try:
        with watched([name]):
            found = importlib.import_module(module)
    except Exception as error:  # A module is a program, which may raise anything.
        raise UserError(f"{name} cannot be imported: {cause(error)}") from error
    except SystemExit as error:
        raise UserError(f"{name} cannot be imported: it exits with {error.code!r}") from error
    if not callable(made := getattr(found, function, None)):
        what = f"has no function {function!r}" if made is None else f"has {function!r}, which is not a function"
        raise UserError(f"{getattr(found, '__file__', None) or module} {what}")
    return made


@contextlib.contextmanager
def watched(functions: Collection[str]) -> Iterator[None]:
    """Takes note of the user's modules that some functions import: of some, the source does not tell the name.

    Args:
      functions: names `package.module:function` of those that run meanwhile.
    """
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            # Without getattr, at which some modules would import what they stand for.
            file = getattr(sys.modules[name], "__dict__", {}).get("__file__")
            if isinstance(file, str) and file.endswith(".py") and not _is_others(path := pathlib.Path(file)):
                for function in functions:
                    _found.setdefault(function, set()).add(name)
                _imported[name] = sources.digest(path)


def found(functions: Collection[str]) -> set[str]:
    """Returns the names of the modules that have been imported while some functions ran."""
    return set().union(*(_found.get(function, ()) for function in functions))


def _is_others(path: pathlib.Path) -> bool:
    return not path.is_file() or path.is_relative_to(_OURS) or names.is_installed(path)


def forget_changed(code: Code) -> bool:
    """Has the user's modules imported anew if a source is not what they were imported from, as in a notebook.

    Those that somebody else has imported are, too: nobody knows from what.

    Returns:
      Whether there were any.
    """
    now = {sources.module(name): digest for name, digest in code.digests.items()}
    changed = any(name in sys.modules and _imported.get(name) != digest for name, digest in now.items())
    if changed:
        for name in now:  # They may have imported each other.
            sys.modules.pop(name, None)
    _imported.update(now)
    importlib.invalidate_caches()
    return changed


def modules(code: Code) -> list[types.ModuleType]:
    """Returns the user's modules that have been imported."""
    return [sys.modules[name] for name in map(sources.module, code.files) if name in sys.modules]


def is_imported(name: str, digest: str) -> bool:
    """Tells whether a module of the user's has been imported from a source with this digest."""
    if name not in sys.modules:
        return False
    file = getattr(sys.modules[name], "__file__", None)
    known = _imported.get(name) or (file and pathlib.Path(file).is_file() and sources.digest(pathlib.Path(file)))
    return known == digest


@contextlib.contextmanager
def users_code(what: str, *passing: type[BaseException]) -> Iterator[None]:
    """Raises whatever code of the user's raises as a FunctionError: `what`, such as "config.x=... fails", and why.

    Args:
      what: begins the message.
      *passing: what stays as it is, beside what gnexp itself raises.
    """
    try:
        yield
    except (GnexpError, *passing):
        raise
    except (Exception, SystemExit) as error:
        raise FunctionError(f"{what}: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """Returns in one line what first went wrong, and the file and the line of the user's where it did.

    An error of a library is the caller's: the line is the last one outside of gnexp and of installed packages.
    """
    while following := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = following
    # Keras puts a line of its own before the message, which it prints in bold.
    lines = [_BOLD.sub("", line).strip() for line in str(error).splitlines()]
    said = next((line for line in lines if line and not line.startswith("Exception encountered when calling")), "")
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = pathlib.Path(frame.filename)
        if not _is_others(path):
            return f"{path}, line {frame.lineno}: {what}"
    return what
