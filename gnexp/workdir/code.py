"""The user's code in a workdir: a copy of the source files of the functions in its config, and what changed in them."""

import datetime
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gnexp.config import open_sections
from gnexp.errors import UserError
from gnexp.functions import load, sources
from gnexp.functions.sources import Code
from gnexp.workdir import files


def of(config: Mapping[str, Any], directory: pathlib.Path | None = None) -> Code:
    """Returns the user's code that a config names, with modules whose names its source does not tell.

    Args:
      config: the config.
      directory: a workdir, whose copy tells them; without one, they are those that this process has imported.

    Raises:
      UserError: there is no such module.
    """
    functions = open_sections.users(config)
    others = load.found(functions.values())
    if directory and (kept := directory / files.CODE).is_dir():
        others = {sources.module(path.relative_to(kept).as_posix()) for path in kept.rglob("[!.]*.py")}
    return sources.read(functions, others)


def changes(directory: pathlib.Path, code: Code, allowed: bool) -> list[str]:
    """Returns, in words, how code differs from that with which a workdir began.

    Args:
      directory: the workdir.
      code: what would run now.
      allowed: whether it may differ.

    Raises:
      UserError: it differs, and must not.
    """
    kept = directory / files.CODE
    found = sources.differing(code, kept) if kept.is_dir() else []
    if found and not allowed:
        raise UserError(
            f"the code is not that with which {directory} began: {', '.join(found)} ({kept} has it as it was). Restore "
            "it, name another --workdir, or add --allow_changed_code"
        )
    return found


def keep(directory: pathlib.Path, code: Code, changed: Sequence[str]) -> None:
    """Copies code into a workdir, and records what changed in it.

    Args:
      directory: the workdir, opened by the caller.
      code: what runs now.
      changed: what `changes` returned.
    """
    kept = directory / files.CODE
    if not kept.is_dir() and code.files:
        # Under its name only once it is whole: what is there under it is what the next command compares.
        partial = directory / files.PARTIAL_CODE
        try:
            _copy(code, partial)
            partial.replace(kept)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    elif changed:
        path = kept / files.CODE_CHANGES
        earlier = files.read_json(path)
        earlier = [] if earlier is None else files.checked(path, earlier, list[dict[str, Any]])
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        files.write_json(path, [*earlier, {"time": now, "changes": list(changed)}])
        _copy(code, kept)
        for copy in kept.rglob("*.py"):
            if copy.relative_to(kept).as_posix() not in code.files:
                copy.unlink()


def _copy(code: Code, folder: pathlib.Path) -> None:
    for name, path in code.files.items():
        with files.atomic(folder / name) as temporary:
            temporary.write_bytes(path.read_bytes())


def use(directory: pathlib.Path, config: Mapping[str, Any], folders: Sequence[str] = ()) -> None:
    """Lets another process of a sweep import the user's code, and checks that it is still what the sweep began with.

    Args:
      directory: the sweep's workdir.
      config: of the sweep or of a trial.
      folders: where the sweep's own process finds the code. On a machine without them, the copy in the workdir is used.

    Raises:
      UserError: the code has changed.
    """
    kept = directory / files.CODE
    if not kept.is_dir():
        return
    for folder in (*folders, str(kept.absolute())):
        if folder not in sys.path and pathlib.Path(folder).is_dir():
            sys.path.append(folder)
    if found := sources.differing(of(config, directory), kept):
        raise UserError(f"the code changed while the sweep ran: {', '.join(found)}; restore it, and run it again")
