"""A training's checkpoint: one file that holds everything and is replaced atomically.

Weights, optimizer, seeds, figures, the best epoch's weights and the events not yet written are saved together, so that
no crash can leave a checkpoint with parts from different epochs.
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
    """What a training resumes from.

    Attributes:
      arrays, progress: as `Training.state` returns them.
      events: as `EventFiles.state` returns it.
      result: the training's result, once it is over and its last events are in `events`; None before.
    """

    arrays: dict[str, np.ndarray]
    progress: dict[str, Any]
    events: dict[str, Any]
    result: Result | None


def save(path: pathlib.Path, checkpoint: Checkpoint) -> None:
    """Saves a checkpoint atomically."""
    events = dict(checkpoint.events)
    pending = {_PENDING + run: np.frombuffer(content, np.uint8) for run, content in events.pop("pending").items()}
    result = checkpoint.result and dataclasses.asdict(checkpoint.result)
    meta = json.dumps({"progress": checkpoint.progress, "events": events, "result": result})
    with files.atomic(path) as temporary:
        np.savez(temporary, **checkpoint.arrays, **pending, **{_META: np.array(meta)})


def load(path: pathlib.Path) -> Checkpoint | None:
    """Returns the checkpoint at `path`, or None if there is none."""
    if not path.exists():
        return None
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays.pop(_META)))
    names = [name for name in arrays if name.startswith(_PENDING)]
    meta["events"]["pending"] = {name.removeprefix(_PENDING): arrays.pop(name).tobytes() for name in names}
    result = meta.pop("result")
    return Checkpoint(arrays, **meta, result=result and Result(**result))


def history(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the figures of each epoch up to the checkpoint at `path`, without reading its arrays; [] without one."""
    if not path.exists():
        return []
    with np.load(path) as file:
        return json.loads(str(file[_META]))["progress"]["history"]
