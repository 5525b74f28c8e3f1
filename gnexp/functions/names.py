"""Names such as `package.module:function`, and the file that holds such a module."""

import difflib
import functools
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import site
import sys
import sysconfig
from collections.abc import Iterable

from gnexp.errors import UserError

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_name(value: object) -> bool:
    """Tells whether a value reads `package.module:function`."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def search(folders: Iterable[pathlib.Path]) -> None:
    """Lets modules be found in folders, after all others: a `queue.py` there does not hide the standard library's."""
    for folder in folders:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    importlib.invalidate_caches()


def folders() -> list[pathlib.Path]:
    """Returns the folders in which modules are searched for, without those of Python and of installed packages."""
    found = (pathlib.Path(entry).absolute() for entry in sys.path)
    return [folder for folder in dict.fromkeys(found) if folder.is_dir() and not is_installed(folder)]


@functools.cache
def _of_python() -> tuple[pathlib.Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in names] + site.getsitepackages() + [site.getusersitepackages()]
    return tuple(pathlib.Path(path).resolve() for path in paths)


def is_installed(path: pathlib.Path) -> bool:
    """Tells whether a path is Python's own, or in a folder of installed packages."""
    resolved = path.resolve()
    # Another Python's may be on the path, too.
    elsewhere = not {"site-packages", "dist-packages"}.isdisjoint(resolved.parts)
    return elsewhere or any(resolved.is_relative_to(folder) for folder in _of_python())


def find(module: str) -> pathlib.Path | None:
    """Returns the file of a module, without importing it or the packages above it.

    Returns:
      Its source, or None if it has none, such as an extension module.

    Raises:
      UserError: there is no such module.
    """
    paths: list[str] | None = None
    spec = None
    for part, name in _with_parents(module):
        # By its last part: of a folder without an __init__.py, Python would want the parent, which is not imported.
        spec = importlib.machinery.PathFinder.find_spec(part, paths)
        if spec is None and paths is None:
            spec = importlib.util.find_spec(name)  # built in, or found by a hook, such as an editable installation
        if spec is None:
            raise UserError(_missing(module, part, name))
        paths = list(spec.submodule_search_locations or [])
    source = spec.origin if spec.has_location and str(spec.origin).endswith(".py") else None
    _check_not_hidden(module, source)
    return source and pathlib.Path(source)


def _with_parents(module: str) -> Iterable[tuple[str, str]]:
    parts = module.split(".")
    return ((part, ".".join(parts[: number + 1])) for number, part in enumerate(parts))


def _missing(module: str, part: str, name: str) -> str:
    where = ", ".join(map(str, folders()))
    if name == module.partition(".")[0]:
        nearby = {path.stem for folder in folders() for path in folder.glob("*.py")}
        near = difflib.get_close_matches(part, nearby, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"there is no module {name!r}, neither installed nor in {where}{hint}"
    return f"there is no module {name!r}: the package {name.rpartition('.')[0]!r} has no {part!r}"


def _check_not_hidden(module: str, source: str | None) -> None:
    """Refuses an installed module that hides a file of the same name, which was probably meant."""
    if source is None or not is_installed(pathlib.Path(source)):
        return
    relative = module.replace(".", os.sep)
    for folder in folders():
        for beside in (folder / f"{relative}.py", folder / relative / "__init__.py"):
            if beside.is_file():
                raise UserError(f"the installed {source} hides {beside}: give the module another name")
