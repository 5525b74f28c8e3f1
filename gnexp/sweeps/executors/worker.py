"""A process that runs a sweep's trials one after another: the sweep's end of it, and its own.

This module imports little: the process must notice the sweep's death even while it imports TensorFlow.
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
from gnexp.terminal import script
from gnexp.terminal.stderr import native_stderr


class Worker:
    """The sweep's end of a process, which starts with the first task, and with the first one after a `kill`.

    Args:
      config: the sweep's.
      directory: its workdir.
      cpus: the processors that the process may use; empty if the platform has no processor affinity.
      log: the file that gets whatever the process writes to stdout and stderr.

    Attributes:
      task: the running `trial.Task`, or None; the owner resets it.
      connection: what `hear` reads from; None while there is no process.
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
        """Has the process run a task.

        Raises:
          OSError: the log cannot be written.
          UserError: no process can be started.
        """
        self.task = None  # Otherwise `Processes` would wait for a process that could not be started.
        if not self._process:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            # No daemon, which could not have processes that read its data; it dies with this one nevertheless.
            process = context.Process(target=_main, args=(theirs, *self._arguments))
            with theirs, _inheritance(self._cpus, self.log):
                try:
                    process.start()
                except OSError as error:
                    fewer = "a smaller config.sweep.parallel needs fewer"
                    raise UserError(f"no other process can be started ({error.strerror}): {fewer}") from error
            self.connection, self._process = ours, process
        self.task = task
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # It has died; `hear` will say so.
            self.connection.send(task)

    def hear(self) -> Any:
        """Waits for the next message of the process, and returns it.

        Returns:
          A string that says how far the task is, or at its end the `trial.Done`, or what `trial.run` raised for a
          reason outside of the trial.

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
        """Kills the process if it is alive, and returns its exit code; None if there is no process."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.join()
            self.connection.close()
            self.connection = None
        return process and process.exitcode


@contextlib.contextmanager
def _inheritance(cpus: set[int], log: pathlib.Path) -> Iterator[None]:
    """Sets for this thread what a process that it starts must have from its first instruction on.

    TensorFlow, JAX and NumPy count the processors when they are imported; their C++ code writes to stderr at once; and
    Ctrl-C must stay blocked until the process ignores it.
    """
    with native_stderr(log), script.not_run_again():
        # Otherwise the first start would do it, and unblock SIGINT again. What a killed process leaves is for the log.
        resource_tracker.ensure_running()
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
    # Ctrl-C reaches every process of the terminal. Only the sweep reacts to it, and sends its processes SIGTERM.
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
    from gnexp.training import backend
    from gnexp.training.signals import stop_signals
    from gnexp.training.traced import Kept
    from gnexp.workdir import code, data

    with stop_signals(directory) as received:
        # A second signal is not for this process: the sweep decides when to stop waiting, and then sends SIGKILL.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
        code.use(directory, config)
        splits = load(config.data)
        data.check(directory, splits.fingerprint)
        backend.choose_threads(config, splits.input_shape)
        kept = Kept()
        while True:
            task = connection.recv()
            connection.send(trial.run(task, splits, TrialConsole(connection.send, task.epochs), kept))


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)
