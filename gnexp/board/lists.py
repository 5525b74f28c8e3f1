"""The list of sweeps and trainings, with a few figures of each."""

import pathlib
from collections.abc import Callable
from typing import Any

from gnexp.board import content
from gnexp.board.folders import SWEEP, TRAINING, signature
from gnexp.board.one_training import summary
from gnexp.board.watched import Watched
from gnexp.config.defaults import fill_in
from gnexp.config.objective import bounds
from gnexp.config.paths import flatten
from gnexp.errors import UserError
from gnexp.workdir import files
from gnexp.workdir.folder import read_config

_DATA, _TUNER = "data.name", "sweep.tuner"


class Lists:
    """Remembers what each entry said, so that only what has changed is read again."""

    def __init__(self):
        self._known: dict[str, tuple[Any, dict[str, Any]]] = {}

    def knows(self, name: str) -> bool:
        """Tells whether all that there is to say of an entry was read before."""
        return name in self._known and not self._known[name][1].get("pending")

    def entry(self, name: str, path: pathlib.Path, watch: Callable[[], Watched] | None, late: bool) -> dict[str, Any]:
        """Returns the line of a sweep or training.

        Args:
          name: its path under the logdir.
          path: its folder.
          watch: returns the sweep; None for a training.
          late: whether there is no time to read it, so that the line is "pending", or what it was.
        """
        kind = SWEEP if watch else TRAINING
        begun = {"name": name, "title": content.title(path, name), "kind": kind}
        state = [signature(path / part) for part in (files.CONFIG, files.RESULT, files.KEPT, files.CHECKPOINT)]
        known = self._known.get(name)
        done = known is not None and (known[1].get("finished") or kind == TRAINING)
        if known and (late or (done and known[0] == state)):
            return known[1]
        if late:
            return {**begun, "pending": True}
        try:
            found = begun | (_sweep(path, watch()) if watch else summary(path))
        except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
            found = {**begun, "problem": str(error)}
        self._known[name] = state, found
        return found


def _sweep(path: pathlib.Path, watched: Watched) -> dict[str, Any]:
    config = read_config(path) or {}
    fill_in(config)
    config = flatten(config)
    about = {"data": config.get(_DATA), "tuner": config.get(_TUNER), "objective": config.get("objective")}
    about["bounds"] = bounds(str(about["objective"]))
    about["network"] = content.name_of_network(config)
    ended = files.read_json(path / files.RESULT) or {}
    if ended.get("status") == "success" and not watched.trials:
        counts = {status.lower(): number for status, number in ended["trials"].items()}
        best = ended["best"][0] if ended["best"] else None
        return about | {
            "counts": {"running": 0, "completed": 0, "failed": 0} | counts,
            "expected": sum(counts.values()),
            "best": best and [best["trial"], best["mean"], best["interval95"]],
            "finished": True,
            "last": (path / files.RESULT).stat().st_mtime,
        }
    with watched.lock:
        watched.refresh()
        return about | content.state(watched) | ({} if watched.complete else {"pending": True})
