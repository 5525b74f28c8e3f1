"""A training's checkpoint: one file that holds all of it, replaced in one instant.

Weights, optimizer, seeds, figures, the best epoch's weights and the events not yet written stand or fall together, so
no crash can leave a checkpoint whose parts are of different epochs.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from gnexp.workdir import files
from gnexp.workdir.result import Result

_META = "meta"
_PENDING = "events."


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a training goes on from.

    Attributes:
      arrays, progress: of `Training.state`.
      events: of `EventFiles.state`.
      result: once the training is over and its last events are noted; None before.
    """

    arrays: dict[str, np.ndarray]
    progress: dict[str, Any]
    events: dict[str, Any]
    result: Result | None


def save(path: pathlib.Path, checkpoint: Checkpoint) -> None:
    """Saves a checkpoint; whole, or not at all."""
    events = dict(checkpoint.events)
    pending = {_PENDING + run: np.frombuffer(content, np.uint8) for run, content in events.pop("pending").items()}
    result = checkpoint.result and dataclasses.asdict(checkpoint.result)
    meta = json.dumps({"progress": checkpoint.progress, "events": events, "result": result})
    with files.atomic(path) as temporary:
        np.savez(temporary, **checkpoint.arrays, **pending, **{_META: np.array(meta)})


def load(path: pathlib.Path) -> Checkpoint | None:
    """Returns what was saved, or None where there is no checkpoint."""
    if not path.exists():
        return None
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays.pop(_META)))
    names = [name for name in arrays if name.startswith(_PENDING)]
    meta["events"]["pending"] = {name.removeprefix(_PENDING): arrays.pop(name).tobytes() for name in names}
    result = meta.pop("result")
    return Checkpoint(arrays, **meta, result=result and Result(**result))
