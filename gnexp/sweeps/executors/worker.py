"""A process that runs one of a sweep's trials after another, from both ends.

What is imported here is little: the process must notice the sweep's death also while it imports TensorFlow.
"""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from ml_collections import ConfigDict

from gnexp.config.stored import from_json, to_json
from gnexp.errors import InterruptedTrainingError, UserError
from gnexp.sweeps.trial_console import TrialConsole
from gnexp.terminal.stderr import native_stderr


class Worker:
    """The sweep's end: a process that is started when there is first something to do, and anew after a `kill`.

    Args:
      config: the sweep's.
      directory: its workdir.
      cpus: the processors that are the process's; none where the platform has no say in that.
      log: gets whatever the process writes to stdout and stderr.

    Attributes:
      task: the `trial.Task` that runs, or None; the owner sets it back.
      connection: from where `hear` reads, while there is a process.
      log: see above.
    """

    def __init__(self, config: ConfigDict, directory: pathlib.Path, cpus: set[int], log: pathlib.Path):
        self.task: Any = None
        self.connection: Connection | None = None
        self.log = log
        self._process: multiprocessing.Process | None = None
        self._arguments = to_json(config), directory
        self._cpus = cpus

    def begin(self, task: Any) -> None:
        """Has the process run a task."""
        self.task = task
        if not self._process:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_main, args=(theirs, *self._arguments), daemon=True)
            with theirs, _inheritance(self._cpus, self.log):
                process.start()
            self.connection, self._process = ours, process
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # It died unseen; `hear` will say so.
            self.connection.send(task)

    def hear(self) -> Any:
        """Returns what the process says next, waiting for it: a string, which says how far the task is, or its end.

        The end is an `trial.Done`, or what `trial.run` raised for a reason outside of the trial.

        Raises:
          EOFError: the process is dead.
        """
        try:
            return self.connection.recv()
        except OSError as error:
            raise EOFError from error

    def stop(self) -> None:
        """Has the process save and end its task as soon as it can."""
        self._process.terminate()

    def kill(self) -> int | None:
        """Ends the process, if there is one, and returns its exit code, that of an earlier death perhaps."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.join()
            self.connection.close()
            self.connection = None
        return process and process.exitcode


@contextlib.contextmanager
def _inheritance(cpus: set[int], log: pathlib.Path) -> Iterator[None]:
    """Gives this thread what a process that it starts is to have from its first instruction on.

    TensorFlow, JAX and NumPy count the processors when they are imported; C++ greets at once; and Ctrl-C is not to be
    heard before the process has said that it ignores it.
    """
    resource_tracker.ensure_running()  # Else the first start would do it, and unblock SIGINT again.
    with native_stderr(log):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        mine = os.sched_getaffinity(0) if cpus else set()
        try:
            if cpus:
                os.sched_setaffinity(0, cpus)
            yield
        finally:
            if cpus:
                os.sched_setaffinity(0, mine)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _main(connection: Connection, config: dict[str, Any], directory: pathlib.Path) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Ctrl-C reaches every process of the terminal: it is the sweep's to hear, and to hand on as SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.dup2(2, 1)
    try:
        _work(connection, from_json(config), directory)
    except (InterruptedTrainingError, UserError, OSError) as error:
        connection.send(error)


def _work(connection: Connection, config: ConfigDict, directory: pathlib.Path) -> None:
    from gnexp.data.load import load
    from gnexp.sweeps import trial
    from gnexp.training.signals import stop_signals

    with stop_signals(directory) as received:
        # When not to wait any more is the sweep's to say, too, and it says that with SIGKILL.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
        splits = load(config.data)
        while True:
            task = connection.recv()
            connection.send(trial.run(task, splits, TrialConsole(connection.send, task.epochs)))


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)
