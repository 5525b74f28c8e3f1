"""What a training says in the terminal."""

import math
import pathlib
import shlex
import sys
from collections.abc import Mapping
from typing import Protocol

from tqdm import tqdm

from gnexp.config.objective import bounds
from gnexp.terminal.words import figure
from gnexp.workdir.result import Result

# Of an epoch's figures, what its line shows in another way.
_APART = ("epoch", "learning_rate", "seconds")


class Console(Protocol):
    """Where a training reports its progress."""

    def norms(self, found: str, few: str | None) -> None:
        """Reports the network's norms, and which of them have few values in a group, if any."""

    def steps(self, epoch: int, done: int, total: int) -> None:
        """Reports how many steps of an epoch are done."""

    def resumed(self, epochs: int, step: int) -> None:
        """Reports where a training resumes: the whole epochs done, and the steps of the next."""

    def damaged(self, text: str) -> None:
        """Reports that a file of the workdir is damaged, and what comes of it."""

    def epoch(self, figures: dict[str, float], best: bool) -> None:
        """Reports the figures of an epoch, and whether it is the best so far."""

    def clear(self) -> None:
        """Makes room for other output, because the training has ended or failed."""


class TerminalConsole:
    """Shows a training's progress: a bar with the time left while an epoch runs, a line when it has ended.

    Args:
      epochs: the number of epochs in the whole training.
      objective: the name of the figure that chooses the best epoch.
    """

    def __init__(self, epochs: int, objective: str):
        self._epochs = epochs
        self._objective = objective
        self._bar: tqdm | None = None

    def steps(self, epoch: int, done: int, total: int) -> None:
        """Moves the bar; there is none where the output is not a terminal."""
        if self._bar is None:
            name = f"epoch {epoch}/{self._epochs}"
            # The bar starts at `done`: the first call compiles, and its time says nothing about the time left.
            self._bar = tqdm(
                desc=name, initial=done, total=total, unit="step", leave=False, disable=None, file=sys.stdout
            )
        self._bar.update(done - self._bar.n)

    def clear(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def norms(self, found: str, few: str | None) -> None:
        """Prints the network's norms: how many groups each has, and of how many channels."""
        print(f"norms: {found}" + (f"\nnote: {few}" if few else ""), flush=True)

    def resumed(self, epochs: int, step: int) -> None:
        """Prints where a training resumes."""
        print(f"resuming after epoch {epochs}" + (f", step {step} of the next" if step else ""), flush=True)

    def damaged(self, text: str) -> None:
        """Prints that a file of the workdir is damaged."""
        print(text, flush=True)

    def epoch(self, figures: dict[str, float], best: bool) -> None:
        """Prints the line of an epoch, marked if it is the best so far."""
        self.clear()
        width = len(str(self._epochs))
        shown = _shown({name: value for name, value in figures.items() if name not in _APART})
        print(
            f"epoch {figures['epoch']:{width}}/{self._epochs}   {shown}"
            f"   learning rate {figures['learning_rate']:.2g}   {figures['seconds']:.1f} s"
            f"{f'   best {self._objective}' if best else ''}",
            flush=True,
        )


def _shown(figures: Mapping[str, float]) -> str:
    shares = {name for name in figures if all(map(math.isfinite, bounds(name)))}
    return "   ".join(f"{name} {figure(value, name in shares)}" for name, value in figures.items())


def fell_back(asked: str, used: str, why: str = "") -> None:
    """Warns loudly on stderr that the training uses another dataset than the one asked for, and why."""
    print(f"\n*** THIS TRAINING USES {used}, NOT {asked} ***\n{why}", file=sys.stderr, flush=True)


def summary(result: Result, directory: pathlib.Path) -> None:
    """Prints a finished training's figures, its workdir, and how to see it in TensorBoard."""
    best, last = result.history[result.best_epoch - 1], result.history[-1]
    print()
    for name, figures in (("best", best), ("final", last)):
        # The loss comes last: the others are what one asks for.
        names = sorted((name for name in figures if name.startswith("val_")), key=lambda each: each == "val_loss")
        print(
            f"{name + ':':<7} {_shown({each: figures[each] for each in names})}   (epoch {figures['epoch']} of "
            f"{len(result.history)}{', the last by config.patience' if result.patience else ''})"
        )
    print(
        f"test:   {_shown(result.test)}   (the weights of the best epoch, "
        + (
            "which was chosen on the test set: config.data.validation)"
            if result.validation == "test"
            else "measured once)"
        )
    )
    print(f"time:   {result.seconds:.1f} s on {result.dataset}")
    print(f"workdir: {directory}")
    # Not the folder itself: the HParams plugin loses the metrics of a session that is the root of the logdir.
    parent = directory.parent if directory.name else directory.resolve().parent
    print(f"\n  tensorboard --logdir={shlex.quote(str(parent))}")
