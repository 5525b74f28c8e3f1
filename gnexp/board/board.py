"""What the tab and the page of a report ask, and the answers as values that JSON can hold."""

import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

from gnexp.board import content, lists, one_training, one_trial, timeline
from gnexp.board.folders import SWEEP, TRAINING, Folders
from gnexp.board.watched import Watched
from gnexp.errors import UserError

_SECONDS_OF_A_LIST = 1.0  # after which it is answered, complete or not
# What fits a model, for seconds; and how many times as long it is kept while the sweep goes on. The page itself asks
# seldom for the importance.
_WORKED_OUT = {"answer": (content.answer, 10), "importance": (content.importance, 0)}


class Board:
    """The sweeps and trainings under a folder, read as far as they are asked for.

    Args:
      root: the folder; None if TensorBoard was started without `--logdir`.
    """

    def __init__(self, root: pathlib.Path | None):
        self.folders = Folders(root) if root else None
        self._watched: dict[str, Watched] = {}
        self._kept: dict[tuple[str, str], _WorkedOut] = {}  # by route and name
        self._lists = lists.Lists()

    def ask(self, route: str, name: str, argument: str) -> dict[str, Any]:
        """Returns the answer to a question.

        Args:
          route: "list", or what is asked of one sweep or training.
          name: of the sweep or training.
          argument: of "sweep", the version that is known already; of "trial" an id, of "curves" several.

        Raises:
          LookupError: there is no such sweep, training or trial.
        """
        if self.folders is None:
            return {"problem": "TensorBoard was started without --logdir, which the tab Sweeps needs."}
        try:
            return self._ask(route, name, argument)
        except UserError as error:
            return {"problem": str(error)}

    def _ask(self, route: str, name: str, argument: str) -> dict[str, Any]:
        if route == "list":
            return self._list()
        if route == "training":
            return one_training.training(self.folders.path(name, TRAINING))
        watched = self._watch(name)
        with watched.lock:
            watched.refresh()
            swept, version = watched.swept(), watched.version
            match route:
                case "sweep":
                    return content.sweep(watched, argument)
                case "timeline":
                    return timeline.timeline(watched)
                case "curves":
                    return one_trial.curves(watched, argument.split(","))
                case "trial":
                    return one_trial.trial(watched, argument)
        if route in _WORKED_OUT:  # without the lock: the table and the pictures wait for neither
            make, rest = _WORKED_OUT[route]
            return self._kept.setdefault((route, name), _WorkedOut()).of(version, lambda: make(swept), rest)
        raise LookupError(f"there is no {route!r}")

    def _watch(self, name: str) -> Watched:
        path = self.folders.path(name, SWEEP)
        return self._watched.setdefault(name, Watched(path))

    def _list(self) -> dict[str, Any]:
        found, deadline = self.folders.found(), time.monotonic() + _SECONDS_OF_A_LIST
        self._watched = {name: watched for name, watched in self._watched.items() if found.get(name) == SWEEP}
        self._kept = {key: made for key, made in self._kept.items() if key[1] in found}
        entries, unknown = {}, sum(not self._lists.knows(name) for name in found)
        # While some were never read, those that were stay as they are.
        for name in sorted(found, key=self._lists.knows):
            path, kind, known = self.folders.root / name, found[name], self._lists.knows(name)
            watch = (lambda name=name: self._watch(name)) if kind == SWEEP else None
            late = time.monotonic() > deadline or (known and unknown > 0)
            entries[name] = self._lists.entry(name, path, watch, late)
            unknown -= not known and self._lists.knows(name)
        return {
            "root": str(self.folders.root),
            "entries": [entries[name] for name in found],
            "complete": not any(entry.get("pending") for entry in entries.values()),
        }


class _WorkedOut:
    """What takes seconds to work out of a sweep; it is made once for a version, and not for each version."""

    def __init__(self):
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}
        self._until = 0.0

    def of(self, version: str, make: Callable[[], dict[str, Any]], rest: float) -> dict[str, Any]:
        """Returns what was made, with the version of the sweep that it is about: this one, or one not long ago."""
        with self._lock:
            began = time.monotonic()
            if self._made.get("version") != version and began >= self._until:
                self._made = {**make(), "version": version}
                now = time.monotonic()
                self._until = now + rest * (now - began)
            return self._made
