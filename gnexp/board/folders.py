"""The sweeps and trainings under a folder, by their paths in it."""

import os
import pathlib
import time
from typing import Any

from gnexp.errors import UserError
from gnexp.workdir import files

SWEEP, TRAINING = "sweep", "training"
_MOST_FOLDERS = 50_000
_SECONDS = 2.0  # for which what was found counts as new


class Folders:
    """What lies under a folder. Symbolic links are not followed, so that nothing outside of it is read.

    Args:
      root: the folder.
    """

    def __init__(self, root: pathlib.Path):
        self.root = root.resolve()
        self._kinds: dict[str, tuple[Any, str]] = {}  # by name: the stat of config.json, and what it says
        self._found: dict[str, str] = {}
        self._looked = -_SECONDS

    def found(self) -> dict[str, str]:
        """Returns SWEEP or TRAINING by name, in order; a name is the path from the root, "." for the root itself."""
        if time.monotonic() - self._looked >= _SECONDS:
            self._found = dict(sorted(self._walk()))
            self._kinds = {name: self._kinds[name] for name in self._found}
            self._looked = time.monotonic()
        return self._found

    def path(self, name: str, kind: str) -> pathlib.Path:
        """Returns the folder with a name; raises LookupError unless something of that kind was found there."""
        if self._found.get(name) != kind and self.found().get(name) != kind:
            raise LookupError(f"there is no {kind} named {name!r} under the logdir")
        return self.root / name

    def _walk(self) -> list[tuple[str, str]]:
        found, waiting, seen = [], ["."], 0
        while waiting and seen < _MOST_FOLDERS:
            name = waiting.pop()
            seen += 1
            try:
                with os.scandir(self.root / name) as entries:
                    inside = list(entries)
            except OSError:  # It went away, or is another user's.
                continue
            names = {entry.name for entry in inside}
            kind = self._kind(name) if files.CONFIG in names else ""
            if kind:
                found.append((name, kind))
                continue
            prefix = "" if name == "." else f"{name}/"
            waiting += [
                prefix + entry.name
                for entry in inside
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
        return found

    def _kind(self, name: str) -> str:
        path = self.root / name / files.CONFIG
        try:
            state = signature(path)
            if state is None or path.is_symlink():
                return ""
            if name not in self._kinds or self._kinds[name][0] != state:
                config = files.read_json(path)
                ours = isinstance(config, dict) and "optimizer" in config
                self._kinds[name] = state, (SWEEP if "sweep" in config else TRAINING) if ours else ""
            return self._kinds[name][1]
        except UserError:  # A damaged config is shown as that of a sweep if there are trials.
            self._kinds[name] = None, SWEEP if (self.root / name / files.ORACLE).is_dir() else TRAINING
            return self._kinds[name][1]


def signature(path: pathlib.Path | str) -> tuple[int, int, int] | None:
    """Returns what changes whenever a file is replaced or extended; None if there is none."""
    try:
        state = os.stat(path)  # noqa: PTH116  (thousands of these; making a Path takes longer than the call)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
