"""A workdir as a folder: whether it may be used, a new one, and the lock on it."""

import contextlib
import datetime
import fcntl
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from ml_collections import ConfigDict

from gnexp.config.stored import check_stored, resume_config, to_json
from gnexp.errors import DamagedError, InUseError, UserError
from gnexp.workdir import provenance, result
from gnexp.workdir.files import A_TRIAL, CHECKPOINT, CONFIG, PROVENANCE, TRIALS, read_json, remove_partial, write_json

_LOCK = ".lock"
_LIMITS = ("max_trials", "max_failures", "max_epochs", "max_seconds", "precision")  # of a sweep, which may be raised


def check_name(directory: pathlib.PurePath) -> None:
    """Raises UserError if a path cannot be a workdir's, whatever is there."""
    if directory.name.startswith("-") or str(directory) == ".":
        raise UserError(f"--workdir={directory} is not allowed: it must be the path of a folder of its own")
    try:
        str(directory).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--workdir={str(directory)!a} is not allowed: it must be text in UTF-8") from error


def check(directory: pathlib.Path) -> dict[str, Any] | None:
    """Checks, without writing anything, that a training or a sweep can start or resume in `directory`.

    Returns:
      The config that is stored there, as plain nested dicts, or None if there is none yet.

    Raises:
      UserError: the folder cannot be written to and holds no finished training, or it holds something other than a
        training or a sweep.
    """
    check_name(directory)
    try:
        nearest = directory
        while not os.path.lexists(nearest):
            nearest = nearest.parent
        if not nearest.is_dir():
            raise UserError(f"--workdir={directory} is not allowed: {nearest} is not a folder")
        stored = read_config(directory)
        over = stored and "sweep" not in stored and result.finished(directory)  # What has ended is only shown.
        if not over and not os.access(nearest, os.W_OK | os.X_OK):
            raise UserError(f"--workdir={directory} is not allowed: {nearest} cannot be written to")
        if nearest != directory:
            with tempfile.TemporaryDirectory(dir=nearest, prefix=".gnexp-"):
                pass  # Some file systems, such as /proc, refuse a folder whatever its mode says.
        inhabited = nearest == directory and any(not entry.name.startswith(".") for entry in directory.iterdir())
    except OSError as error:  # for example, the name is too long
        raise UserError(f"--workdir={directory} is not allowed: {error.strerror}") from error
    if stored is None and inhabited:
        raise UserError(
            f"--workdir={directory} is not allowed: it holds other files, and neither a training nor a sweep"
        )
    return stored


def read_config(directory: pathlib.Path) -> dict[str, Any] | None:
    """Returns the config that is stored in a workdir, as plain nested dicts, or None if there is none.

    Raises:
      UserError: the file is damaged.
    """
    path = directory / CONFIG
    values = read_json(path)
    if values is None:
        return None
    try:
        check_stored(values)
    except ValueError as error:
        raise DamagedError(path, error) from error
    return values


def check_backend(directory: pathlib.Path, config: ConfigDict, stored: Mapping[str, Any]) -> None:
    """Checks that a training or a sweep resumes with the backend that it has had. What has ended is only shown.

    Args:
      directory: the workdir.
      config: with which it would resume.
      stored: what `check` returned.

    Raises:
      UserError: it has had another backend; a file cannot be read.
    """
    if result.succeeded(directory) and not _extends(config, stored):
        return
    *_, last = directory / PROVENANCE, *sorted(directory.glob(f"{TRIALS}/{A_TRIAL}/*/{PROVENANCE}"))
    with contextlib.suppress(DamagedError):  # The training sets the file aside.
        processes = provenance.read(last)
        former = processes[-1].get("backend") if processes else None  # None: it is older than this record.
        if former not in (None, here := provenance.backend()):
            raise UserError(
                f"KERAS_BACKEND={here} is not allowed: {directory} runs on {former}. Set KERAS_BACKEND={former}, or "
                "name another --workdir"
            )


def _extends(config: ConfigDict, stored: Mapping[str, Any]) -> bool:
    """Tells whether a config lets a sweep that has ended go on."""
    former = stored.get("sweep", {})
    return any(former.get(key) != config.sweep.get(key) for key in _LIMITS if key in former)


def fresh(parent: pathlib.Path, config: ConfigDict) -> pathlib.Path:
    """Creates a folder in `parent`, named after the time and what is trained; raises UserError if that fails."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    if "sweep" in config:
        what = f"sweep-{config.sweep.tuner}"
    else:
        norm = config.model.norm + (str(config.model.groups) if config.model.norm == "group" else "")
        what = f"{norm}-{config.optimizer.name}-bs{config.data.batch_size}"
    name = f"{stamp}-{config.data.name}-{what}"
    for attempt in range(1, 1000):
        directory = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{parent} cannot hold a new folder: {error.strerror}") from error
        return directory
    raise UserError(f"{parent} holds a thousand folders named {name}")


@contextlib.contextmanager
def opened(directory: pathlib.Path, config: ConfigDict, patience: float = 0) -> Iterator[ConfigDict]:
    """Locks `directory` for this process, and yields the config that is trained there.

    Creates the folder and its `config.json` if they are missing. The kernel releases the lock when the process ends,
    however it ends, so that no stale lock is left behind.

    Args:
      directory: the workdir.
      config: the config, as `record` returns it.
      patience: for how many seconds to wait for another process that holds the lock.

    Raises:
      InUseError: another process holds the lock.
      UserError: the folder cannot be created or locked, or it holds a training or a sweep of another config.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"--workdir={directory} is not allowed: {error.strerror}") from error
    with lock:
        deadline = time.monotonic() + patience
        while not _locked(directory, lock):
            if time.monotonic() >= deadline:
                raise InUseError(f"--workdir={directory} is in use by another process")
            time.sleep(0.1)
        remove_partial(directory)
        stored = read_config(directory)
        config = config if stored is None else resume_config(config, stored)
        if to_json(config) != stored:
            write_json(directory / CONFIG, to_json(config))
        yield config


def _locked(directory: pathlib.Path, lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if list(directory.iterdir()) == [directory / _LOCK]:
            (directory / _LOCK).unlink()
            directory.rmdir()
        raise UserError(
            f"--workdir={directory} cannot be locked ({error.strerror}): its file system must support flock "
            "(docs/parallel.md)"
        ) from error
    return True


def remove_checkpoint(directory: pathlib.Path) -> None:
    """Removes the checkpoint, which only an unfinished training needs."""
    (directory / CHECKPOINT).unlink(missing_ok=True)
