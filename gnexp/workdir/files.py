"""The names in a workdir, and writing that outlasts a crash.

A training's workdir holds `config.json`, `data.json`, `provenance.json`, `result.json` (once it has ended),
`checkpoints/` and TensorBoard's event files. A sweep's holds a training's workdir for each seed, `trials/0007/seed-0/`,
and keras-tuner's files in `oracle/`. Every file that matters is written under a temporary name, flushed to disk and
renamed, so that no crash leaves an incomplete one. JSON files also have a format version and a checksum, so that damage
is noticed.
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gnexp.errors import DamagedError, UserError
from gnexp.functions import sources

CONFIG = "config.json"
PROVENANCE = "provenance.json"
RESULT = "result.json"
REMARKS = "remarks.json"  # what was said before the first step, line by line
BACKEND_LOG = "backend.log"
TRACEBACK = "traceback.txt"
CHECKPOINT = "checkpoints/state.npz"
MODEL = "checkpoints/best.keras"
DATA = "data.json"  # the fingerprint of the data
CODE = sources.KEPT  # a copy of the user's sources
PARTIAL_CODE = ".code.partial"  # the copy until it is whole
CODE_CHANGES = "changes.json"  # in it: what changed, and was accepted
ORACLE = "oracle"
TRIALS = "trials"
A_TRIAL = "[0-9]" * 4  # a pattern: folders with other names are the user's
KEPT = "trials.csv"  # a sweep's trials, as a repository keeps them

# Of the JSON files and the checkpoints. One number for all: it grows when any of them changes so that an older gnexp
# would misread it.
FORMAT = 1
_FORMAT, _CHECKSUM = "format", "checksum"
_DEEPEST, _MOST_BITS = 50, 128
_ZEROS, _LONG = bytes.maketrans(b"123456789", b"000000000"), b"0" * 39  # 128 bits are 39 digits
_SORTED = msgspec.json.Encoder(order="sorted")


@contextlib.contextmanager
def named(path: pathlib.Path) -> Iterator[None]:
    """Gives an OSError that names no file the name of the one that is meant: a limit (`ulimit -f`), a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`; its file replaces `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, because another process may be writing the same file. The suffix must stay last: Keras chooses
    # the format by it, and NumPy appends its own to any other.
    own = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{own}.partial{path.suffix}")
    try:
        with named(path):
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
    shutil.rmtree(directory / PARTIAL_CODE, ignore_errors=True)


def _sync(folder: pathlib.Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Some file systems cannot do it for a folder.
            raise
    finally:
        os.close(descriptor)


def set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames a damaged file, replacing one that was set aside before, and returns its new path."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    return aside


def write_json(path: pathlib.Path, value: Any, compact: bool = False) -> None:
    """Writes `value` as JSON, atomically; NaN and infinity, which are not JSON, raise ValueError.

    A dict, or each dict of a list, gets a format version and a checksum, which `read_json` checks and takes out.

    Args:
      path: the file.
      value: what it will hold.
      compact: write a dict with keys of text in one line: Python's json indents slowly, without its C encoder.
    """
    if compact:
        value = {**value, _FORMAT: FORMAT}
        text = json.dumps({**value, _CHECKSUM: _checksum(value)}, allow_nan=False)
    else:
        text = json.dumps(_each_dict(_sealed, value), indent=2, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def read_json(path: pathlib.Path) -> Any | None:
    """Returns what a JSON file holds, or None if there is no such file.

    Files without a format version, which an older gnexp or keras-tuner wrote, have no checksum.

    Raises:
      DamagedError: it is not JSON, a number in it is not finite, or its checksum is wrong.
      UserError: it cannot be read, or a newer gnexp wrote it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): restore it, or choose another --workdir") from error
    try:
        value = parsed(content)
        if value is None:
            raise ValueError("it holds null")
        _each_dict(functools.partial(check_format, path), value)
        return _each_dict(_unsealed, value)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, error) from error


def parsed(content: bytes) -> Any:
    """Returns the value of JSON text; raises ValueError or RecursionError for what `write_json` never writes."""
    try:
        value = msgspec.json.decode(content)  # It takes a fifth of the time, and refuses what is not finite.
        odd = _LONG in content.translate(_ZEROS)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # Python's parser knows better what is wrong, or it is right.
        value, odd = json.loads(content.decode()), True
    if content.count(b"[") + content.count(b"{") > _DEEPEST:  # With fewer brackets it cannot be deep.
        _check_depth(value)
    if odd:
        _check_numbers(value)
    return value


def check_format(path: pathlib.Path, record: Any) -> None:
    """Raises UserError if a newer gnexp wrote a record of the file at `path`."""
    version = record.get(_FORMAT) if isinstance(record, dict) else None
    if type(version) is int and version > FORMAT:
        raise UserError(f"{path} has the format {version}, of a newer gnexp: upgrade gnexp, which reads {FORMAT} here")


def checked(path: pathlib.Path, value: Any, kind: Any) -> Any:
    """Returns what a file holds as a value of a type, such as a dataclass.

    Args:
      path: the file, for the message.
      value: what `read_json` returned.
      kind: any type that msgspec knows.

    Raises:
      DamagedError: the value is not of the type, or has keys that the dataclass has not.
    """
    try:
        is_dict = dataclasses.is_dataclass(kind) and isinstance(value, dict)
        if is_dict and (unknown := [key for key in value if key not in _fields(kind)]):
            raise ValueError(f"the key {unknown[0]!r} is unknown")
        return msgspec.convert(value, kind)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, error) from error


@functools.cache
def _fields(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(kind))


def _each_dict(change: Callable[[dict], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return change(value)
    if isinstance(value, list):
        return [change(item) if isinstance(item, dict) else item for item in value]
    return value


def _sealed(value: dict[str, Any]) -> dict[str, Any]:
    # As JSON gives it back: a tuple becomes a list, and every key a string.
    sealed = {**json.loads(json.dumps(value, allow_nan=False)), _FORMAT: FORMAT}
    return {**sealed, _CHECKSUM: _checksum(sealed)}


def _unsealed(value: dict[str, Any]) -> dict[str, Any]:
    if _FORMAT not in value and _CHECKSUM not in value:
        return value
    sealed = dict(value)
    checksum, version = sealed.pop(_CHECKSUM, None), sealed.get(_FORMAT)
    if version != FORMAT or (checksum != _checksum(sealed) and checksum != _former_checksum(sealed)):
        raise ValueError(f"its checksum is wrong; if you edited it, remove its entries {_FORMAT!r} and {_CHECKSUM!r}")
    del sealed[_FORMAT]
    return sealed


def _checksum(value: dict[str, Any]) -> str:
    try:
        return _digest(_SORTED.encode(value))  # in a sixth of the time that Python's json takes
    except (OverflowError, UnicodeError):  # of a number with more than 64 bits; of half a character
        return _former_checksum(value)


def _former_checksum(value: dict[str, Any]) -> str:
    """Returns what the first versions wrote."""
    return _digest(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def _digest(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()[:16]}"


def _check_depth(value: Any) -> None:
    """Raises ValueError for endless nesting, which gnexp never writes."""
    level = [[value]]
    for _ in range(_DEEPEST + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in (dict, list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST} deep")


def _check_numbers(value: Any) -> None:
    """Raises ValueError for what Python reads and gnexp never writes: NaN, infinity and endless numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"a number has more than {_MOST_BITS} bits")
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_numbers(inner)


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process is in such a block for the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with named(folder):
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # Until it is closed, also by a kill.
        yield
    finally:
        os.close(descriptor)


def read_lines(path: pathlib.Path) -> list[str]:
    """Returns the lines that a JSON file holds, such as the remarks; [] if there is no such file.

    Raises:
      UserError: the file is damaged.
    """
    lines = read_json(path)
    return [] if lines is None else checked(path, lines, list[str])


def trial_folder(directory: pathlib.Path, trial_id: str) -> pathlib.Path:
    """Returns the folder of a trial of the sweep in `directory`, which holds a folder for each execution."""
    return directory / TRIALS / trial_id


def execution_folder(trial: pathlib.Path, seed: int) -> pathlib.Path:
    """Returns the workdir of the execution with a seed, in the folder of its trial."""
    return trial / f"seed-{seed}"
