"""A training's checkpoint: one file that holds everything and is replaced atomically.

Weights, optimizer, seeds, figures, the best epoch's weights and the events not yet written are saved together, so that
no crash can leave a checkpoint with parts from different epochs. It is a .npz file, a ZIP archive, which has a checksum
of each array; the names of the arrays are kept beside them.
"""

import dataclasses
import io
import json
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from gnexp.errors import DamagedError
from gnexp.workdir import files
from gnexp.workdir.result import Result, check_result, nested

_META = "meta"
_REMEDY = "the command that trains there sets it aside"
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
    result = checkpoint.result and checkpoint.result.flat()
    arrays = {**checkpoint.arrays, **pending}
    meta = json.dumps(
        {
            "format": files.FORMAT,
            "arrays": sorted(arrays),
            "progress": checkpoint.progress,
            "events": events,
            "result": result,
        }
    )
    with files.atomic(path) as temporary:
        np.savez(temporary, **arrays, **{_META: np.array(meta)})


@dataclasses.dataclass(frozen=True)
class _Meta:
    """What is beside the arrays; an older gnexp wrote neither `format` nor `arrays`."""

    progress: dict[str, Any]
    events: dict[str, Any]
    result: dict[str, Any] | None
    format: int = 0
    arrays: list[str] | None = None


def load(path: pathlib.Path) -> Checkpoint | None:
    """Returns the checkpoint at `path`, or None if there is none.

    Raises:
      DamagedError: it is not as `save` wrote it.
      UserError: a newer gnexp wrote it.
    """
    arrays = _arrays_of(path)
    if arrays is None:
        return None
    meta = _meta(path, arrays)
    if "arrays" in meta and sorted(arrays) != meta["arrays"]:
        raise DamagedError(path, "it lacks arrays", _REMEDY)
    names = [name for name in arrays if name.startswith(_PENDING)]
    pending = {name.removeprefix(_PENDING): arrays.pop(name).tobytes() for name in names}
    done = meta["result"]
    if done is not None:
        check_result(path, done)
    return Checkpoint(arrays, meta["progress"], {**meta["events"], "pending": pending}, done and Result(**nested(done)))


def history(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the figures of each epoch up to the checkpoint at `path`, without reading its arrays; [] without one.

    Raises:
      DamagedError: it is not as `save` wrote it.
      UserError: a newer gnexp wrote it.
    """
    arrays = _arrays_of(path, [_META])
    return [] if arrays is None else _meta(path, arrays)["progress"].get("history", [])


def _arrays_of(path: pathlib.Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _arrays(content, names)
    except Exception as error:  # whatever zipfile and NumPy raise for a file that is none of theirs
        raise DamagedError(path, f"{type(error).__name__}: {error}", _REMEDY) from error


def _meta(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Takes what describes a checkpoint out of its arrays, and checks it."""
    try:
        meta = files.parsed(str(arrays.pop(_META)).encode())
    except (KeyError, ValueError, RecursionError) as error:
        raise DamagedError(path, f"{type(error).__name__}: {error}", _REMEDY) from error
    files.check_format(path, meta)
    files.checked(path, meta, _Meta)
    return meta


def _arrays(content: bytes, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file (all without `names`), read to their ends, where zipfile compares checksums.

    `np.load` reads only as far as the header of an array says.
    """
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for name in file.namelist() if names is None else [f"{name}.npy" for name in names]:
            member = io.BytesIO(file.read(name))
            arrays[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):
                raise ValueError(f"{name} goes on after its array")
    return arrays
