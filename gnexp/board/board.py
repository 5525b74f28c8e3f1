"""What the tab and the page of a report ask, and the answers as values that JSON can hold."""

import pathlib
import time
from collections.abc import Callable
from typing import Any

from gnexp.board import content, lists, one_training, one_trial, timeline
from gnexp.board.folders import SWEEP, TRAINING, Folders
from gnexp.board.watched import Watched
from gnexp.errors import UserError

_SECONDS_OF_A_LIST = 1.0  # after which it is answered, complete or not


class Board:
    """The sweeps and trainings under a folder, read as far as they are asked for.

    Args:
      root: the folder; None if TensorBoard was started without `--logdir`.
    """

    def __init__(self, root: pathlib.Path | None):
        self.folders = Folders(root) if root else None
        self._watched: dict[str, Watched] = {}
        self._kept: dict[tuple[str, str], tuple[str, Any]] = {}  # by route and name: the version, and the answer
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
            match route:
                case "sweep":
                    return content.sweep(watched, argument)
                case "answer":
                    return self._once(route, name, watched, lambda: content.answer(watched.swept()))
                case "importance":
                    return self._once(route, name, watched, lambda: content.importance(watched.swept()))
                case "timeline":
                    return timeline.timeline(watched)
                case "curves":
                    return one_trial.curves(watched, argument.split(","))
                case "trial":
                    return one_trial.trial(watched, argument)
        raise LookupError(f"there is no {route!r}")

    def _watch(self, name: str) -> Watched:
        path = self.folders.path(name, SWEEP)
        return self._watched.setdefault(name, Watched(path))

    def _once(self, route: str, name: str, watched: Watched, make: Callable[[], dict]) -> dict[str, Any]:
        """Returns what was made for this version of a sweep, made now if it was not yet."""
        version, made = self._kept.get((route, name), ("", {}))
        if version != watched.version:
            made = {**make(), "version": watched.version}
            self._kept[route, name] = watched.version, made
        return made

    def _list(self) -> dict[str, Any]:
        found, deadline = self.folders.found(), time.monotonic() + _SECONDS_OF_A_LIST
        self._watched = {name: watched for name, watched in self._watched.items() if found.get(name) == SWEEP}
        self._kept = {key: made for key, made in self._kept.items() if key[1] in found}
        entries = []
        for name, kind in found.items():
            path = self.folders.root / name
            watch = (lambda name=name: self._watch(name)) if kind == SWEEP else None
            entries.append(self._lists.entry(name, path, watch, time.monotonic() > deadline))
        return {
            "root": str(self.folders.root),
            "entries": entries,
            "complete": not any(entry.get("pending") for entry in entries),
        }
