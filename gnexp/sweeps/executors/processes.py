"""Runs trials side by side, each in a process of its own with its share of this machine's processors."""

import os
import pathlib
import signal
from multiprocessing import connection

from ml_collections import ConfigDict

from gnexp.errors import InterruptedTrainingError, KilledError, UserError
from gnexp.sweeps import trial
from gnexp.sweeps.console import SweepConsole
from gnexp.sweeps.executors.worker import Worker
from gnexp.sweeps.trial import Done, Task

_MOST_DEATHS = 3
_SECONDS_TO_A_SIGNAL = 0.2  # the longest that a signal goes unnoticed


class Processes:
    """The executor for a machine with several processors; a context that leaves no process behind.

    Args:
      config: the sweep's.
      directory: its workdir.
      console: where the progress goes.
      received: the list that gets the signals to stop the sweep (`training.signals.stop_signals`).

    Attributes:
      slots: how many tasks it runs at a time.
    """

    def __init__(self, config: ConfigDict, directory: pathlib.Path, console: SweepConsole, received: list[int]):
        self.slots = config.sweep.parallel
        self._directory = directory
        self._console = console
        self._received = received
        self._deaths: dict[str, int] = {}  # trial id -> how many of its processes died
        self._workers = [
            Worker(config, directory, cpus, directory / f"backend-{slot}.log")
            for slot, cpus in enumerate(_shares(self.slots))
        ]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """Ends every process; their trials are saved first, unless the sweep was interrupted."""
        try:
            if not isinstance(error, InterruptedTrainingError):
                self._stop()
        finally:
            for worker in self._workers:
                worker.kill()

    def submit(self, task: Task) -> None:
        """Starts a task; there must be a free slot; raises what `Worker.begin` raises."""
        self._console.trial(task.trial_id, task.epochs)
        next(worker for worker in self._workers if not worker.task).begin(task)

    def wait(self) -> tuple[str, Done]:
        """Waits for a task to end, and returns its trial id and its result.

        Raises:
          InterruptedTrainingError: SIGINT or SIGTERM came; every trial is saved.
          OSError, UserError: what `trial.run` raised in one of the processes; the other trials are saved.
        """
        while not self._received:
            for worker in self._heard():
                try:
                    said = worker.hear()
                except EOFError:
                    said = self._resume(worker)
                if isinstance(said, str):
                    self._console.progress(worker.task.trial_id, said)
                elif said:
                    task, worker.task = worker.task, None
                    if isinstance(said, Exception):
                        self._stop()
                        raise said
                    return task.trial_id, said
        running = len(self._busy())
        if error := self._stop():
            raise error
        where = "in a trial" if running == 1 else f"in {running} trials"
        raise InterruptedTrainingError(self._received[0], f"{where}; everything is saved", self._directory)

    def _resume(self, worker: Worker) -> Done | None:
        """Has a new process resume the task of a dead one, or fails the trial after too many deaths."""
        code, task = worker.kill(), worker.task
        if not task:
            return None
        deaths = self._deaths[task.trial_id] = self._deaths.get(task.trial_id, 0) + 1
        how = f"of {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if deaths < _MOST_DEATHS:
            self._console.say(f"trial {task.trial_id}: its process died {how}; another process resumes it")
            worker.begin(task)
            return None
        why = f"possibly out of memory; see {worker.log.name}"
        return trial.fail(task, KilledError(f"its process died {deaths} times, last {how}: {why}"))

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.task]

    def _heard(self) -> list[Worker]:
        """Waits a moment, and returns the workers that have sent something."""
        workers = {worker.connection: worker for worker in self._workers if worker.connection}
        return [workers[ready] for ready in connection.wait(workers, _SECONDS_TO_A_SIGNAL)]

    def _stop(self) -> OSError | UserError | None:
        """Has every trial saved, and returns the error if one could not be.

        A trial that ends meanwhile has its result in its folder, where the sweep finds it when it resumes.
        """
        errors = []
        for worker in self._busy():
            worker.stop()
        while self._busy():
            for worker in self._heard():
                try:
                    said = worker.hear()
                    if isinstance(said, str):
                        continue
                except EOFError:
                    said = worker.kill()
                if isinstance(said, (OSError, UserError)):
                    errors.append(said)
                worker.task = None
        return errors[0] if errors else None


def _shares(slots: int) -> list[set[int]]:
    """Returns the processors of each slot: none if the platform, such as macOS, has no processor affinity."""
    if not hasattr(os, "sched_getaffinity"):
        return [set()] * slots
    cpus = sorted(os.sched_getaffinity(0))
    if slots > len(cpus):
        return [{cpus[slot % len(cpus)]} for slot in range(slots)]
    return [set(cpus[slot * len(cpus) // slots : (slot + 1) * len(cpus) // slots]) for slot in range(slots)]
