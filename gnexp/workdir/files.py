"""The names in a workdir, and writing that outlasts a crash.

A training's workdir holds `config.json`, `provenance.json`, `result.json` (once it has ended), `checkpoints/` and
TensorBoard's event files. A sweep's holds a training's workdir for each seed, `trials/0007/seed-0/`, and keras-tuner's
files in `oracle/`. Every file that matters is written under a temporary name, flushed to disk and renamed, so that no
crash leaves an incomplete one.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

from gnexp.errors import UserError

CONFIG = "config.json"
PROVENANCE = "provenance.json"
RESULT = "result.json"
BACKEND_LOG = "backend.log"
TRACEBACK = "traceback.txt"
CHECKPOINT = "checkpoints/state.npz"
MODEL = "checkpoints/best.keras"
ORACLE = "oracle"
TRIALS = "trials"
KEPT = "trials.csv"  # a sweep's trials, as a repository keeps them


@contextlib.contextmanager
def atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`; its file replaces `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, because another process may be writing the same file. The suffix must stay last: Keras chooses
    # the format by it, and NumPy appends its own to any other.
    own = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{own}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(directory: pathlib.Path) -> None:
    """Removes what killed writers left in a training's or a sweep's workdir, which no other process may be writing."""
    folders = [directory, (directory / CHECKPOINT).parent, directory / ORACLE, *(directory / ORACLE).glob("trial_*")]
    for path in (path for folder in folders for path in folder.glob(".*.partial.*")):
        path.unlink(missing_ok=True)


def _sync(folder: pathlib.Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` as JSON, atomically; NaN and infinity, which are not JSON, raise ValueError."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(text)


def read_json(path: pathlib.Path) -> Any | None:
    """Returns what a JSON file holds, or None if there is no such file; raises UserError if it cannot be read."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): restore it, or choose another --workdir") from error


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process is in such a block for the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # Until it is closed, also by a kill.
        yield
    finally:
        os.close(descriptor)


def trial_folder(directory: pathlib.Path, trial_id: str) -> pathlib.Path:
    """Returns the folder of a trial of the sweep in `directory`, which holds a folder for each execution."""
    return directory / TRIALS / trial_id


def execution_folder(trial: pathlib.Path, seed: int) -> pathlib.Path:
    """Returns the workdir of the execution with a seed, in the folder of its trial."""
    return trial / f"seed-{seed}"
