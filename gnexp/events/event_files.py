"""TensorBoard event files in which no event is ever lost or written twice.

A process may die between saving a checkpoint and writing the events that belong to it, or in the middle of writing
them. So events are first serialized, their bytes are saved inside the checkpoint, and only then are they appended to
their files. A process that restores the checkpoint appends what is missing.
"""

import io
import os
import pathlib
import socket
import time
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

_FAILURE = "failure"


def _records(*events: Event) -> bytes:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


class EventFiles:
    """The event files of one session: one file for each of its runs.

    Call `add` for every event, save what `state` returns, then call `write`. After a restart, pass the saved state to
    the constructor, which completes the files.

    Args:
      directory: the session's folder. Run "" is the folder itself, run "train" its subfolder of that name.
      state: what `state` returned before the restart; None for a new session.
    """

    def __init__(self, directory: pathlib.Path, state: dict[str, Any] | None = None):
        self._directory = directory
        self._sizes: dict[str, int] = dict(state["sizes"]) if state else {}
        self._name = state["name"] if state else f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._pending: dict[str, bytes] = dict(state["pending"]) if state else {}
        self.write()

    def add(self, run: str, summary: Summary, step: int = 0) -> None:
        """Queues an event of the run "", "train" or "validation"; only `write` puts it into a file."""
        if run not in self._sizes:
            self._sizes[run] = 0
            self._pending[run] = _records(Event(wall_time=time.time(), file_version="brain.Event:2"))
        event = _records(Event(wall_time=time.time(), step=step, summary=summary))
        self._pending[run] = self._pending.get(run, b"") + event

    def state(self) -> dict[str, Any]:
        """Returns what a restart needs: `name` (str), `sizes` (int by run) and `pending` (bytes by run)."""
        return {"name": self._name, "sizes": dict(self._sizes), "pending": dict(self._pending)}

    def write(self) -> None:
        """Appends the queued events to their files, except for what is already there."""
        for run, pending in self._pending.items():
            path = self._directory / run / self._name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                # Bytes beyond the known size are the beginning of `pending`: an earlier write was cut short.
                file.write(pending[max(0, file.tell() - self._sizes[run]) :])
                file.flush()
                # The next checkpoint relies on these bytes and survives a power cut, so they must, too.
                os.fsync(file.fileno())
            self._sizes[run] += len(pending)
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
