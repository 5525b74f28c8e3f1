"""The source files of the user's functions: which they are, their digests, and a copy in the workdir.

The copy says what a training or a sweep began with. Nodes of a cluster that lack the user's folders import from it.
"""

import ast
import contextlib
import dataclasses
import hashlib
import pathlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gnexp.errors import UserError
from gnexp.functions import names
from gnexp.functions.signature import parsed

KEPT = "code"  # the folder of a workdir with the copy
_OURS = "gnexp"


@dataclasses.dataclass(frozen=True)
class Code:
    """The source files of some functions, without those of installed packages and of gnexp.

    Attributes:
      functions: the names `package.module:function`, by the section of the config.
      files: the path of each source file, by its path from the folder in which it was found.
      digests: their SHA-256, likewise.
    """

    functions: Mapping[str, str]
    files: Mapping[str, pathlib.Path]
    digests: Mapping[str, str]

    def record(self) -> dict[str, Any]:
        """Returns the functions, the digests and the commit of the files, as values that JSON can hold."""
        folder = next(iter(self.files.values())).parent if self.files else None
        return {**self.functions, "sha256": dict(self.digests), "git": folder and commit(folder)}


def read(functions: Mapping[str, str], others: Iterable[str] = ()) -> Code:
    """Returns the code of functions: their modules, and the user's modules that these import, wherever they do.

    Args:
      functions: names `package.module:function`, by the section of the config that has them.
      others: names of modules that they import by a name which only running them tells; those that are not there, or
        in other folders, are left out.

    Raises:
      UserError: there is no such module, or a source is not valid Python.
    """
    files: dict[str, pathlib.Path] = {}
    for name in functions.values():
        _follow(name.partition(":")[0], files)
    folders = {_folder(relative, path) for relative, path in files.items()}
    for name in sorted(others):
        with contextlib.suppress(UserError):
            found = names.find(name)
            if found and any(found.is_relative_to(folder) for folder in folders):
                _follow(name, files)
    ordered = dict(sorted(files.items()))
    return Code(functions, ordered, {relative: digest(path) for relative, path in ordered.items()})


def digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def module(relative: str) -> str:
    """Returns the name of the module in a source file, given the file's path from the folder it was found in."""
    parts = pathlib.PurePosixPath(relative).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _folder(relative: str, path: pathlib.Path) -> pathlib.Path:
    """Returns the folder in which a file was found, given its path from there."""
    return path.parents[len(pathlib.PurePosixPath(relative).parts) - 1]


def _follow(module: str, files: dict[str, pathlib.Path]) -> None:
    """Adds the files of a module, of the packages above it, and of the user's modules that these import."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        source = names.find(name)
        if parts[0] == _OURS or source is None or names.is_installed(source):
            continue
        levels = count if source.name == "__init__.py" else count - 1
        relative = source.relative_to(source.parents[levels]).as_posix()
        if relative in files:
            continue
        files[relative] = source
        for imported in _imports(name, source):
            # A name may be a module or something in one; one that is missing may be optional.
            with contextlib.suppress(UserError):
                _follow(imported, files)


def _imports(module: str, source: pathlib.Path) -> Iterator[str]:
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if base)


def commit(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns the git commit of a folder, and whether tracked files differ from it; None outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def differing(code: Code, kept: pathlib.Path) -> list[str]:
    """Returns, in words, how code differs from its copy in a folder."""
    # A killed writer's name begins with a dot.
    there = {path.relative_to(kept).as_posix(): digest(path) for path in sorted(kept.rglob("[!.]*.py"))}
    return changes(there, code.digests)


def changes(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Returns, in words, how the digests of two sets of files differ."""
    return [
        f"{name} {'is new' if name not in there else 'is gone' if name not in here else 'has changed'}"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
