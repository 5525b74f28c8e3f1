"""Reads examples in threads or in processes of their own, ahead of their use and in the order that is asked for."""

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from gnexp.data.columns import Column, Source, converted, example, part
from gnexp.data.slots import Placed, Slots
from gnexp.errors import FunctionError, KilledError, UserError, first_line
from gnexp.functions.load import cause
from gnexp.terminal import script

_PATIENCE = 5  # seconds
_MOST = 8  # Each process has its own interpreter, with a hundred megabytes.

Read = list[np.ndarray]


def cores() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Reading(Protocol):
    """Examples that are being read."""

    def result(self) -> Read:
        """Waits for them, and returns them; raises what reading raised."""

    def cancel(self) -> object:
        """Gives them up."""


class Threads:
    """Reads in threads of this process, which suits what lets other threads run: files, and decoding images."""

    def __init__(self):
        self.count = cores()
        self._pool = concurrent.futures.ThreadPoolExecutor(self.count)

    def submit(self, columns: Sequence[Column], rows: np.ndarray) -> Reading:
        """Begins to read the columns of some rows."""
        return self._pool.submit(_read, columns[0].source, *_asked(columns, rows))

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)


class Processes:
    """Reads in processes, which begin with the first examples and end with this process.

    Args:
      sources: the sources whose columns will be read.

    Raises:
      UserError: a source cannot be pickled.
    """

    def __init__(self, sources: Sequence[Source]):
        self.count = min(cores(), _MOST)
        try:
            self._sources = pickle.dumps(list(sources))
        except Exception as error:  # of pickle, or of the user's class
            raise UserError(
                f"data that is larger than config.data.memory must be pickled for the processes that read it: "
                f"{first_line(error)}"
            ) from error
        self._numbers = {id(source): number for number, source in enumerate(sources)}
        self._kept = list(sources)  # so that no other object gets the id of one
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._slots: Slots | None = None

    def submit(self, columns: Sequence[Column], rows: np.ndarray) -> Reading:
        """Begins to read the columns of some rows; their result raises KilledError if a process was killed."""
        if self._pool is None:
            self._slots = Slots(2 * self.count + 1)
            # A process that has used TensorFlow or JAX must not be forked.
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.count, multiprocessing.get_context("spawn"), _begin, (self._sources, self._slots)
            )
            self._end = weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        slot = self._slots.take(len(rows) * sum(column.nbytes // len(column) for column in columns))
        number = self._numbers[id(columns[0].source)]
        try:
            with script.not_run_again():
                future = self._pool.submit(_hand_over, slot, number, *_asked(columns, rows))
        except concurrent.futures.process.BrokenProcessPool as error:
            raise self._killed() from error
        return _Handed(future, self._slots, slot, self._killed)

    def _killed(self) -> KilledError:
        """Ends the processes, so that the next call begins others; returns what to raise."""
        self._end()
        self._pool = self._slots = None
        return KilledError(
            "a process that reads the data was killed, perhaps because memory ran out: lower config.data.batch_size"
        )


class _Handed:
    """What one of the processes reads; see `Reading`."""

    def __init__(
        self, future: concurrent.futures.Future, slots: Slots, slot: int | None, killed: Callable[[], KilledError]
    ):
        self._future, self._slots, self._slot, self._killed = future, slots, slot, killed

    def result(self) -> Read:
        try:
            found = self._future.result()
            return found if self._slot is None else self._slots.read(self._slot, found)
        except concurrent.futures.process.BrokenProcessPool as error:
            raise self._killed() from error
        finally:
            self._give_back()

    def cancel(self) -> None:
        self._future.cancel()
        self._give_back()

    def _give_back(self) -> None:
        if self._slot is not None:  # The process may still be writing to it, if a signal has ended the waiting.
            self._future.add_done_callback(lambda _: self._slots.give_back(self._slot))


def _asked(columns: Sequence[Column], rows: np.ndarray) -> tuple:
    return columns[0].rows[rows], columns[0].where, [(column.number, column.like) for column in columns]


_sources: list[Source] = []  # of a process that reads
_shared: list[Slots] = []
_failure: list[str] = []  # why the sources cannot be unpickled


def _begin(sources: bytes, slots: Slots) -> None:
    _shared[:] = [slots]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Signals often reach every process of a command. The training decides what to do, and may need another batch.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(_PATIENCE, os._exit, (0,)).start())
    try:
        _sources[:] = pickle.loads(sources)
    except Exception as error:  # of the user's class
        _failure.append(cause(error))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)


def _hand_over(slot: int | None, source: int, rows: np.ndarray, where: str, parts: Sequence[tuple]) -> Read | Placed:
    if _failure:
        raise FunctionError(f"{where} cannot be unpickled by the processes that read it: {_failure[0]}")
    arrays = _read(_sources[source], rows, where, parts)
    return arrays if slot is None else _shared[0].write(slot, arrays)


def _read(source: Source, rows: np.ndarray, where: str, parts: Sequence[tuple]) -> Read:
    examples = [example(source, int(row), where) for row in rows]
    return [
        converted(
            [part(each, number, int(row), where) for each, row in zip(examples, rows, strict=True)], number, where, like
        )
        for number, like in parts
    ]
