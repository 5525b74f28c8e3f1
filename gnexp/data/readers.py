"""Reads examples in threads or in processes of their own, ahead of their use and in the order that is asked for."""

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Sequence

import numpy as np

from gnexp.data.columns import Column, Source, converted, example, part
from gnexp.errors import FunctionError, KilledError, UserError, first_line
from gnexp.functions.load import cause
from gnexp.terminal import script

_PATIENCE = 5  # seconds
_MOST = 8  # Each process has its own interpreter, with a hundred megabytes.

Read = list[np.ndarray]


def cores() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """Reads in threads of this process, which suits what lets other threads run: files, and decoding images."""

    def __init__(self):
        self.count = cores()
        self._pool = concurrent.futures.ThreadPoolExecutor(self.count)

    def submit(self, columns: Sequence[Column], rows: np.ndarray) -> concurrent.futures.Future:
        """Begins to read the columns of some rows."""
        return self._pool.submit(_read, columns[0].source, *_asked(columns, rows))

    def result(self, future: concurrent.futures.Future) -> Read:
        """Returns what a future has read; raises what reading raised."""
        return future.result()

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

    def submit(self, columns: Sequence[Column], rows: np.ndarray) -> concurrent.futures.Future:
        """Begins to read the columns of some rows."""
        if self._pool is None:
            # A process that has used TensorFlow or JAX must not be forked.
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.count, multiprocessing.get_context("spawn"), _begin, (self._sources,)
            )
            weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        with script.not_run_again():
            return self._pool.submit(_read, self._numbers[id(columns[0].source)], *_asked(columns, rows))

    def result(self, future: concurrent.futures.Future) -> Read:
        """Returns what a future has read.

        Raises:
          KilledError: a process was killed.
          GnexpError: whatever reading raised.
        """
        try:
            return future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            self._pool = None
            raise KilledError(
                "a process that reads the data was killed, perhaps because memory ran out: lower config.data.batch_size"
            ) from error


def _asked(columns: Sequence[Column], rows: np.ndarray) -> tuple:
    return columns[0].rows[rows], columns[0].where, [(column.number, column.like) for column in columns]


_sources: list[Source] = []  # of a process that reads


_failure: list[str] = []  # why the sources cannot be unpickled


def _begin(sources: bytes) -> None:
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


def _read(source: Source | int, rows: np.ndarray, where: str, parts: Sequence[tuple]) -> Read:
    if _failure:
        raise FunctionError(f"{where} cannot be unpickled by the processes that read it: {_failure[0]}")
    source = _sources[source] if isinstance(source, int) else source
    examples = [example(source, int(row), where) for row in rows]
    return [
        converted(
            [part(each, number, int(row), where) for each, row in zip(examples, rows, strict=True)], number, where, like
        )
        for number, like in parts
    ]
