"""Runs trials in this process, one after the other."""

from gnexp.data.splits import Splits
from gnexp.errors import InterruptedTrainingError
from gnexp.sweeps import trial
from gnexp.sweeps.console import SweepConsole
from gnexp.sweeps.trial import Done, Task
from gnexp.training.traced import Kept


class Serial:
    """The executor that works on every machine.

    Args:
      splits: the sweep's dataset.
      console: where the progress goes.

    Attributes:
      slots: how many tasks it runs at a time.
    """

    slots = 1

    def __init__(self, splits: Splits, console: SweepConsole):
        self._splits = splits
        self._console = console
        self._task: Task | None = None
        self._kept = Kept()

    def __enter__(self) -> "Serial":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.forget()

    def submit(self, task: Task) -> None:
        """Keeps a task for `wait` to run."""
        self._task = task

    def wait(self) -> tuple[str, Done]:
        """Runs the task, and returns its trial id and its result; raises what `trial.run` raises."""
        task, self._task = self._task, None
        console = self._console.trial(task.trial_id, task.epochs)
        try:
            return task.trial_id, trial.run(task, self._splits, console, self._kept)
        except InterruptedTrainingError as error:
            raise InterruptedTrainingError(error.signum, f"in a trial, {error.where}", error.directory) from error
