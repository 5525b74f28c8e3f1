"""Where things lie: the names in a workdir, atomic writes, the lock, and where a training came from.

A training's workdir holds `config.json`, `provenance.json`, `result.json` (once it has ended), `checkpoints/` and
TensorBoard's event files. Every file that matters is written beside its place, flushed to the disk and renamed, so that
whatever dies, each one is whole.
"""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from ml_collections import ConfigDict

from gnexp.config.stored import resume_config, to_json
from gnexp.errors import InUseError, UserError

CONFIG = "config.json"
PROVENANCE = "provenance.json"
RESULT = "result.json"
BACKEND_LOG = "backend.log"
TRACEBACK = "traceback.txt"
CHECKPOINT = "checkpoints/state.npz"
MODEL = "checkpoints/best.keras"
_LOCK = ".lock"


@contextlib.contextmanager
def atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path`, whose file takes `path`'s place, whole, when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: Keras and NumPy go by it.
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: pathlib.Path) -> None:
    """Makes a rename in `folder` outlast a power cut."""
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
    """Returns what a JSON file holds, or None where there is no such file; UserError where it cannot be read."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): restore it, or choose another --workdir") from error


def check(directory: pathlib.Path) -> dict[str, Any] | None:
    """Checks, writing nothing, that a training could start or go on in `directory`.

    Returns:
      The config of the training that lies there, as plain nested dicts, or None where there is none yet.

    Raises:
      UserError: it cannot be written to, or it holds something else than a training.
    """
    if directory.name.startswith("-") or str(directory) == ".":
        raise UserError(f"--workdir={directory} is not allowed: it must be the path of a folder of its own")
    try:
        nearest = directory
        while not os.path.lexists(nearest):
            nearest = nearest.parent
        if not nearest.is_dir():
            raise UserError(f"--workdir={directory} is not allowed: {nearest} is not a folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise UserError(f"--workdir={directory} is not allowed: {nearest} cannot be written to")
        stored = read_json(directory / CONFIG)
        inhabited = nearest == directory and any(not entry.name.startswith(".") for entry in directory.iterdir())
    except OSError as error:  # a name that is too long, say
        raise UserError(f"--workdir={directory} is not allowed: {error.strerror}") from error
    if stored is None and inhabited:
        raise UserError(f"--workdir={directory} is not allowed: it holds other files and no training")
    if stored is not None and not isinstance(stored, dict):
        raise UserError(f"{directory / CONFIG} holds no config: restore it, or choose another --workdir")
    return stored


def fresh(parent: pathlib.Path, config: ConfigDict) -> pathlib.Path:
    """Makes a new folder in `parent`, named for the time and for what is trained; UserError where that fails."""
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
    """Holds `directory` for this process alone, and gives the config that is trained there.

    Makes the folder and its `config.json` where they are not there. The kernel lets go of the lock when the process
    ends, however it ends, so that no stale lock is ever left behind.

    Args:
      directory: the workdir.
      config: a config's `record`.
      patience: for how many seconds to wait for another process that holds it.

    Raises:
      InUseError: another process holds it.
      UserError: it cannot be made, or a training of another config lies there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"--workdir={directory} is not allowed: {error.strerror}") from error
    with lock:
        deadline = time.monotonic() + patience
        while not _locked(lock):
            if time.monotonic() >= deadline:
                raise InUseError(f"--workdir={directory} is in use by another process")
            time.sleep(0.1)
        stored = read_json(directory / CONFIG)
        config = config if stored is None else resume_config(config, stored)
        if to_json(config) != stored:
            write_json(directory / CONFIG, to_json(config))
        yield config


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clean(directory: pathlib.Path) -> None:
    """Removes what only an unfinished training needs."""
    (directory / CHECKPOINT).unlink(missing_ok=True)


def provenance() -> dict[str, Any]:
    """Returns where a training comes from: source, versions, machine and command line."""
    packages = ("gnexp", "keras", "tensorflow", "jax", "numpy", "tensorboard", "ml-collections")
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.orig_argv,
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "git": _git(),
        "versions": versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git() -> dict[str, Any] | None:
    """Returns the commit of the source that runs, or None where it is not in a git checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(pathlib.Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's checkout, in a virtual environment say.
        git("ls-files", "--error-unmatch", pathlib.Path(__file__).name)
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
