"""TensorBoard event files in which no event is ever lost or written twice.

The difficulty is a process that dies between saving a checkpoint and writing the events that belong to it, or in the
middle of writing them. So events are first made into bytes, the bytes are saved inside the checkpoint, and only then
appended to their files; whoever restores the checkpoint appends what is missing of them.
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

    Call `add` for every event, save what `state` gives, then call `write`; after a restart give the state back.

    Args:
      directory: the session's folder; run "" lies in it, run "train" in its folder of that name.
      state: what `state` gave before the restart.
    """

    def __init__(self, directory: pathlib.Path, state: dict[str, Any] | None = None):
        """Completes the files of a restored session; a new one writes nothing yet."""
        self._directory = directory
        self._sizes: dict[str, int] = dict(state["sizes"]) if state else {}
        self._name = state["name"] if state else f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._pending: dict[str, bytes] = dict(state["pending"]) if state else {}
        self.write()

    def add(self, run: str, summary: Summary, step: int = 0) -> None:
        """Notes an event of the run "", "train" or "validation"; it is in no file before `write`."""
        if run not in self._sizes:
            self._sizes[run] = 0
            self._pending[run] = _records(Event(wall_time=time.time(), file_version="brain.Event:2"))
        event = _records(Event(wall_time=time.time(), step=step, summary=summary))
        self._pending[run] = self._pending.get(run, b"") + event

    def state(self) -> dict[str, Any]:
        """Returns what a restart needs: `name` (str), `sizes` (int by run) and `pending` (bytes by run)."""
        return {"name": self._name, "sizes": dict(self._sizes), "pending": dict(self._pending)}

    def write(self) -> None:
        """Appends what is noted and not yet in the files, be it all of it, a part or nothing."""
        for run, pending in self._pending.items():
            path = self._directory / run / self._name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                # What is there beyond the known size is the beginning of these very bytes.
                file.write(pending[max(0, file.tell() - self._sizes[run]) :])
                file.flush()
                # The next checkpoint counts on them, and is itself made to outlast a power cut.
                os.fsync(file.fileno())
            self._sizes[run] += len(pending)
        self._pending = {}

    def write_failure(self, *summaries: Summary) -> None:
        """Writes a session's end, or start and end, in a file of its own, so that `forget_failure` can take it back.

        TensorBoard believes the first session end of a run: one in the session's own file could never be mended.
        """
        path = self._directory / f"{self._name}.{os.getpid()}.{_FAILURE}"
        now = time.time()
        events = [Event(wall_time=now, summary=summary) for summary in summaries]
        path.write_bytes(_records(Event(wall_time=now, file_version="brain.Event:2"), *events))

    def forget_failure(self) -> None:
        """Takes back what `write_failure` wrote, because the session goes on."""
        for path in self._directory.glob(f"events.out.tfevents.*.{_FAILURE}"):
            path.unlink()
