"""What one of a sweep's trainings says: to its sweep, and not to the terminal."""

from collections.abc import Callable

from gnexp.training.epoch import Epoch


class TrialConsole:
    """A training's `Console`, where it is one of a sweep's: it hands on how far the training is.

    Args:
      progress: is told, in a few words, how far the trial is.
      epochs: how many there are in all.
    """

    def __init__(self, progress: Callable[[str], None], epochs: int):
        self._progress = progress
        self._epochs = epochs

    def steps(self, epoch: int, done: int, total: int) -> None:
        """Says how far the epoch is."""
        self._progress(f"epoch {epoch}/{self._epochs} step {done}/{total}")

    def resumed(self, epochs: int, step: int) -> None:
        """Says where the training resumes."""
        self._progress(f"resuming after epoch {epochs}")

    def epoch(self, figures: Epoch, best: bool) -> None:
        """Prints no line: only whole trials have one."""

    def clear(self) -> None:
        """There is no bar to take away."""
