"""The console of a training in a sweep, which reports to the sweep and not to the terminal."""

from collections.abc import Callable

LASTING = "! "  # begins a message that the sweep prints as a line of its own


class TrialConsole:
    """A training's `Console` that only passes on how far the training is.

    Args:
      progress: called with a few words on how far the trial is.
      epochs: how many epochs the trial has in all.
    """

    def __init__(self, progress: Callable[[str], None], epochs: int):
        self._progress = progress
        self._epochs = epochs

    def steps(self, epoch: int, done: int, total: int) -> None:
        """Reports how far the epoch is."""
        self._progress(f"epoch {epoch}/{self._epochs} step {done}/{total}")

    def norms(self, found: str, few: str | None) -> None:
        """Prints no line: they may differ from trial to trial."""

    def resumed(self, epochs: int, step: int) -> None:
        """Reports where the training resumes."""
        self._progress(f"resuming after epoch {epochs}")

    def damaged(self, text: str) -> None:
        """Has the sweep print that a file of the trial is damaged."""
        self._progress(f"{LASTING}{text}")

    def epoch(self, figures: dict[str, float], best: bool) -> None:
        """Prints no line: only whole trials have one."""

    def clear(self) -> None:
        """Does nothing: there is no bar to remove."""
