"""TensorBoard event files in which no event is ever lost or written twice.

A process may die between saving a checkpoint and writing the events that belong to it, or in the middle of writing
them. So events are first serialized, their bytes are saved inside the checkpoint, and only then are they appended to
their files. A process that restores the checkpoint appends what is missing.
"""

import dataclasses
import io
import os
import pathlib
import re
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from gnexp.errors import DamagedError
from gnexp.workdir import files

_FAILURE = "failure"
_NAME = re.compile(r"events\.out\.tfevents\.\d+\.[^/\0]*")
_CHUNK = 2**20
_Run = Literal["", "train", "validation"]


@dataclasses.dataclass(frozen=True)
class State:
    """What `EventFiles.state` returns, as a dict; an older gnexp had no `checksums`."""

    name: str
    sizes: dict[_Run, Annotated[int, Meta(ge=0)]]
    pending: dict[_Run, bytes]
    checksums: dict[_Run, int] | None = None


def _records(*events: Event) -> bytes:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _check_records(content: bytes) -> None:
    """Raises ValueError unless `content` is events and nothing else, each with its two checksums."""
    place = 0
    while place < len(content):
        header = content[place : place + 8]
        (length,) = struct.unpack("<Q", header.ljust(8, b"\0"))
        event = content[place + 12 : place + 12 + length]
        end = place + 16 + length
        whole = header + struct.pack("<I", masked_crc32c(header)) + event + struct.pack("<I", masked_crc32c(event))
        if content[place:end] != whole:
            raise ValueError(f"no event begins at byte {place}")
        try:
            Event.FromString(event)
        except Exception as error:  # protobuf's own
            raise ValueError(f"the record at byte {place} is no event") from error
        place = end


def forget(directory: pathlib.Path) -> None:
    """Removes the event files of the session in a folder, because they will be written anew."""
    for run in get_args(_Run):
        folder = directory / run
        for path in () if run and folder.is_symlink() else folder.glob("events.out.tfevents.*"):
            path.unlink()


def _checksum(path: pathlib.Path, size: int) -> int:
    """Returns the CRC-32 of a file's first `size` bytes; raises DamagedError if it is shorter."""
    checksum, left = 0, size
    if size:
        try:
            with path.open("rb") as file:
                while left and (chunk := file.read(min(left, _CHUNK))):
                    checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
        except FileNotFoundError as error:
            raise DamagedError(path, "it is missing") from error
    if left:
        raise DamagedError(path, f"it has lost {left} bytes")
    return checksum


class EventFiles:
    """The event files of one session: one file for each of its runs.

    Call `add` for every event, save what `state` returns, then call `write`. After a restart, pass the saved state to
    the constructor, which completes the files.

    Args:
      directory: the session's folder. Run "" is the folder itself, run "train" its subfolder of that name.
      state: what `state` returned before the restart; None for a new session.
      source: the file that the state was read from, for the message if it is not what `state` returned.

    Raises:
      DamagedError: of `source`; or of an event file, which no longer begins as it was written.
    """

    def __init__(
        self, directory: pathlib.Path, state: Mapping[str, Any] | None = None, source: pathlib.Path | None = None
    ):
        self._directory = directory
        self._name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._sizes: dict[str, int] = {}
        self._checksums: dict[str, int] = {}
        self._pending: dict[str, bytes] = {}
        if state:
            self._resume(state, source or directory)
        self.write()

    def _resume(self, state: Mapping[str, Any], source: pathlib.Path) -> None:
        known = files.checked(source, dict(state), State)
        try:
            if not _NAME.fullmatch(known.name):
                raise ValueError(f"{known.name!r} is no name of an event file")
            if not known.pending.keys() <= known.sizes.keys():
                raise ValueError("it has events for a file without a size")
            for content in known.pending.values():
                _check_records(content)
        except ValueError as error:
            raise DamagedError(source, error) from error
        self._name, self._sizes, self._pending = known.name, known.sizes, known.pending
        for run, size in known.sizes.items():
            checksum = _checksum(self._path(run), size)
            if known.checksums is not None and checksum != known.checksums.get(run):
                raise DamagedError(self._path(run), "its checksum is wrong")
            self._checksums[run] = checksum

    def _path(self, run: str) -> pathlib.Path:
        """Returns the path of a run's file; raises DamagedError if it leads out of the session's folder."""
        path = self._directory / run / self._name
        if path.is_symlink() or not path.resolve().is_relative_to(self._directory.resolve()):
            raise DamagedError(path, "it is a link out of the workdir")
        return path

    def add(self, run: str, summary: Summary, step: int = 0) -> None:
        """Queues an event of the run "", "train" or "validation"; only `write` puts it into a file."""
        if run not in self._sizes:
            self._sizes[run] = self._checksums[run] = 0
            self._pending[run] = _records(Event(wall_time=time.time(), file_version="brain.Event:2"))
        event = _records(Event(wall_time=time.time(), step=step, summary=summary))
        self._pending[run] = self._pending.get(run, b"") + event

    def state(self) -> dict[str, Any]:
        """Returns what a restart needs: a `State` as a dict; sizes and CRC-32 checksums are those of the files."""
        return {
            "name": self._name,
            "sizes": dict(self._sizes),
            "checksums": dict(self._checksums),
            "pending": dict(self._pending),
        }

    def write(self) -> None:
        """Appends the queued events to their files, except for what is already there."""
        for run, pending in self._pending.items():
            path = self._path(run)
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.named(path), path.open("ab") as file:
                # Bytes beyond the known size are of an earlier write, which was cut short.
                file.truncate(self._sizes[run])
                file.write(pending)
                file.flush()
                # The next checkpoint relies on these bytes and survives a power cut, so they must, too.
                os.fsync(file.fileno())
            self._sizes[run] += len(pending)
            self._checksums[run] = zlib.crc32(pending, self._checksums[run])
        self._pending = {}

    def write_failure(self, *summaries: Summary) -> None:
        """Writes a session's end, or start and end, to a separate file, which `forget_failure` can remove.

        TensorBoard uses the first session end of a run, so one in the session's own file could not be corrected later.
        """
        path = self._directory / f"{self._name}.{os.getpid()}.{_FAILURE}"
        now = time.time()
        events = [Event(wall_time=now, summary=summary) for summary in summaries]
        path.write_bytes(_records(Event(wall_time=now, file_version="brain.Event:2"), *events))

    def forget_failure(self) -> None:
        """Removes what `write_failure` wrote, because the session resumes."""
        for path in self._directory.glob(f"events.out.tfevents.*.{_FAILURE}"):
            path.unlink()
