"""The interface of an executor: where the trials of a sweep run."""

from typing import Protocol

from gnexp.sweeps.trial import Done, Task


class Executor(Protocol):
    """Takes tasks, and says what came of them in the order of their ends.

    A trial that fails is a `Done`; what is raised stops the sweep. Whatever happens to a task on the way, its folder
    says how far it is, so that an executor may run it again.

    Attributes:
      slots: how many tasks it takes at a time.
    """

    slots: int

    def submit(self, task: Task) -> None:
        """Takes a task; there must be a slot for it."""

    def wait(self) -> tuple[str, Done]:
        """Returns the trial id of a task that has ended, and what it came to.

        Raises:
          InterruptedTrainingError: SIGINT or SIGTERM came; every trial is saved.
          OSError, UserError: what `trial.run` raised for a reason outside of the trial; the other trials are saved.
        """
