"""The interface of an executor: where the trials of a sweep run."""

from typing import Protocol

from gnexp.sweeps.trial import Done, Task


class Executor(Protocol):
    """Runs tasks, and returns their results in the order in which they end.

    A trial that fails is a `Done`; an exception stops the sweep. The folder of a task always says how far the task is,
    so that an executor may run it again.

    Attributes:
      slots: how many tasks it runs at a time.
    """

    slots: int

    def submit(self, task: Task) -> None:
        """Starts a task; there must be a free slot."""

    def wait(self) -> tuple[str, Done]:
        """Waits for a task to end, and returns its trial id and its result.

        Raises:
          InterruptedTrainingError: SIGINT or SIGTERM came; every trial is saved.
          OSError, UserError: what `trial.run` raised for a reason outside of the trial; the other trials are saved.
        """
