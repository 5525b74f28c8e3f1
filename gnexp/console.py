"""What a training says in the terminal."""

import contextlib
import functools
import math
import os
import pathlib
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from tabulate import tabulate
from tqdm import tqdm

from gnexp.config.objective import OBJECTIVES

_MOST_SHOWN = 2  # running trials that have room in one line


class Console:
    """Shows a training's progress: a bar with the time left while an epoch runs, a line when it has ended.

    Args:
      epochs: how many there are in all.
      objective: the name of the figure that chooses the best epoch.
    """

    def __init__(self, epochs: int, objective: str):
        """Shows nothing yet."""
        self._epochs = epochs
        self._objective = objective
        self._bar: tqdm | None = None

    def steps(self, epoch: int, done: int, total: int) -> None:
        """Moves the bar; there is none where the output is not a terminal."""
        if self._bar is None:
            name = f"epoch {epoch}/{self._epochs}"
            # From `done` on: what the first call took went into compiling, and says nothing of the time left.
            self._bar = tqdm(
                desc=name, initial=done, total=total, unit="step", leave=False, disable=None, file=sys.stdout
            )
        self._bar.update(done - self._bar.n)

    def clear(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def resumed(self, epochs: int, step: int) -> None:
        """Says where a training goes on: behind so many whole epochs and so many steps."""
        print(f"going on after epoch {epochs}" + (f", step {step} of the next" if step else ""), flush=True)

    def epoch(self, figures, best: bool) -> None:
        """Prints the line of an epoch (a `training.Epoch`), marked where it is the best so far."""
        self.clear()
        width = len(str(self._epochs))
        print(
            f"epoch {figures.epoch:{width}}/{self._epochs}"
            f"   loss {figures.loss:.4f}   accuracy {figures.accuracy:.4f}"
            f"   val_loss {figures.val_loss:.4f}   val_accuracy {figures.val_accuracy:.4f}"
            f"   learning rate {figures.learning_rate:.2g}   {figures.seconds:.1f} s"
            f"{f'   best {self._objective}' if best else ''}",
            flush=True,
        )


class SweepConsole:
    """Shows a sweep's progress: two lines that change while a trial runs, and a line for each that has ended.

    Args:
      trials: how many there are to be.
      objective: the name of the figure that is optimized.
    """

    def __init__(self, trials: int, objective: str):
        """Shows nothing yet."""
        self._trials = trials
        self._objective = objective
        self._completed = self._failed = self._ended_here = 0
        self._best: tuple | None = None
        self._began = time.monotonic()
        self._running: dict[str, str] = {}
        self._bars: list[tqdm] = []

    def __enter__(self):
        """Shows the lines, where the output is a terminal."""
        # The second bar is but a line of text.
        count = "{n_fmt}/{total_fmt} trials |{bar:20}| {desc}"
        self._bars = [
            tqdm(total=self._trials, bar_format=layout, leave=False, disable=None, file=sys.stdout, position=position)
            for position, layout in enumerate((count, "{desc}"))
        ]
        self._refresh()
        return self

    def __exit__(self, *error):
        """Takes the lines away."""
        for bar in reversed(self._bars):
            bar.close()

    def show(self, completed: int, failed: int, best: tuple[str, float, dict] | None) -> None:
        """Takes note of where the sweep stands; `best` is a trial's id, score and values."""
        self._completed, self._failed, self._best = completed, failed, best

    def trial(self, trial_id: str, epochs: int) -> "TrialConsole":
        """Returns the console of a trial that begins."""
        self.progress(trial_id, "")
        return TrialConsole(functools.partial(self.progress, trial_id), epochs)

    def progress(self, trial_id: str, text: str) -> None:
        """Says how far a running trial is."""
        self._running[trial_id] = text
        self._refresh()

    def say(self, text: str) -> None:
        """Prints a line."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def ended(self, trial_id: str, values: dict, score: str, seconds: float) -> None:
        """Prints the line of a trial that has ended: `score` is its figure in words, or why it failed."""
        self._running.pop(trial_id, None)
        self._ended_here += 1
        line = f"trial {trial_id}   {score}   {in_words(values)}   {seconds:.1f} s"
        if self._bars[0].disable:
            best = f"; best so far {self._best[1]:.4f}: trial {self._best[0]}" if self._best else ""
            ended = self._completed + self._failed
            print(f"{line}   [{ended}/{self._trials} trials, {self._status()}{best}]", flush=True)
        else:
            tqdm.write(line, file=sys.stdout)
        self._refresh()

    def _status(self) -> str:
        parts = [f"{self._failed} failed"]
        if self._ended_here:
            each = (time.monotonic() - self._began) / self._ended_here
            left = max(0, self._trials - self._completed - self._failed)
            parts.append(f"{tqdm.format_interval(each * left)} left")
        return ", ".join(parts)

    def _now(self) -> str:
        if len(self._running) > _MOST_SHOWN:
            return f", {len(self._running)} running"
        running = ", ".join(f"{name} {text}".strip() for name, text in self._running.items())
        return running and f", running {running}"

    def _best_so_far(self) -> str:
        if self._best is None:
            return f"no {self._objective} yet"
        trial_id, score, values = self._best
        return f"best {self._objective} {score:.4f}: trial {trial_id}   {in_words(values)}"

    def _refresh(self) -> None:
        if self._bars and not self._bars[0].disable:
            self._bars[0].n = self._completed + self._failed
            self._bars[0].set_description_str(self._status() + self._now())
            self._bars[1].set_description_str(self._best_so_far())


class TrialConsole:
    """What `trial.run` takes for a `Console`, when it is one of a sweep's trainings.

    Args:
      progress: is told, in a few words, how far the trial is.
      epochs: how many there are in all.
    """

    def __init__(self, progress: Callable[[str], None], epochs: int):
        """Says nothing yet."""
        self._progress = progress
        self._epochs = epochs

    def steps(self, epoch: int, done: int, total: int) -> None:
        """Says how far the epoch is."""
        self._progress(f"epoch {epoch}/{self._epochs} step {done}/{total}")

    def resumed(self, epochs: int, step: int) -> None:
        """Says where the training goes on."""
        self._progress(f"going on after epoch {epochs}")

    def epoch(self, figures, best: bool) -> None:
        """Says nothing: a trial has no lines of its own."""

    def clear(self) -> None:
        """Takes nothing away."""


def in_words(values: dict) -> str:
    """Returns hyperparameters in one line."""
    return "  ".join(f"{path}={short(value)}" for path, value in values.items() if not path.startswith("tuner/")) + (
        f"  epochs={values['tuner/epochs']}" if "tuner/epochs" in values else ""
    )


def short(value: object) -> str:
    """Returns a hyperparameter's value as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def with_spread(mean: float | None, interval: float | None) -> str:
    """Returns a mean, with half the width of its 95% interval where that is known."""
    if mean is None:
        return ""
    return f"{mean:.4f}" + ("" if interval is None else f" \N{PLUS-MINUS SIGN} {interval:.4f}")


EFFECT_HEADERS = ("hyperparameter", "value", "trials", "failed", "mean", "best")


def effect_rows(effects) -> list[list]:
    """Returns a table, without its headers, of what each level of each `analysis.Effect` gave."""
    return [
        [
            "" if index else f"{effect.path} ({effect.role})",
            level.name,
            len(level.scores),
            level.failed or "",
            with_spread(level.mean, level.interval),
            with_spread(level.best, None),
        ]
        for effect in effects
        for index, level in enumerate(effect.levels)
    ]


def dry_run(config, space, first: list[dict]) -> None:
    """Prints what a sweep would do.

    Args:
      config: the sweep's.
      space: its `space.Space`.
      first: the values of its first trials.
    """
    rows = [
        [entry.path, entry.role, str(entry), "" if entry.when is None else f"{entry.when[0]}: {_listed(entry.when[1])}"]
        for entry in space.entries
    ]
    print(tabulate(rows, ["", "role", "values", "where"], disable_numparse=True))
    size = f"{space.size():.0f}" if math.isfinite(space.size()) else "infinitely many"
    print(f"\n{size} combinations; a grid of them has {space.grid_size()}")
    sweep = config.sweep
    seeds = f"{sweep.executions} seed{'' if sweep.executions == 1 else 's'}"
    print(
        f"{sweep.tuner}, seed {sweep.seed}: up to {sweep.max_trials} trials of {seeds}, "
        f"to get the {OBJECTIVES[config.objective].direction} {config.objective}"
    )
    print(f"\nThe first {len(first)} trials\n")
    paths = list(dict.fromkeys(path for values in first for path in values))
    table = [[f"{number:04d}", *(short(values.get(path, "")) for path in paths)] for number, values in enumerate(first)]
    print(tabulate(table, ["trial", *paths], disable_numparse=True))


def _listed(values) -> str:
    return ", ".join(map(str, values))


def sweep_summary(
    directory: pathlib.Path, objective: str, best, failures: dict[str, str], effects, trials: int
) -> None:
    """Prints the end of a sweep.

    Args:
      directory: its workdir.
      objective: the name of the figure that was optimized.
      best: the best trials, as `outcomes.Outcome`.
      failures: why each failed trial did.
      effects: of each hyperparameter, as `analysis.Effect`.
      trials: how many there are in all.
    """
    where = f" on {best[0].results[0].dataset}" if best else ""
    print(f"\n{trials} trials{where}, {len(failures)} failed")
    for trial_id, message in failures.items():
        print(f"  trial {trial_id} failed: {message}")
    if not best:
        return
    print(f"\nThe best, by {objective} (mean over the seeds, 95% interval where there are several)\n")
    if "tuner/epochs" in best[0].values:
        print("Trials that another one went on from are left out.\n")
    paths = dict.fromkeys(path for each in best for path in each.values)
    paths = [path for path in paths if not path.startswith("tuner/") or path == "tuner/epochs"]
    rows = [
        [each.trial_id, with_spread(each.mean, each.interval), len(each.results)]
        + [f"{statistics.fmean(done.test_accuracy for done in each.results):.4f}"]
        + [short(each.values.get(path, "")) for path in paths]
        for each in best
    ]
    print(tabulate(rows, ["trial", objective, "seeds", "test accuracy", *paths], disable_numparse=True))
    print(f"\nWhat each hyperparameter does to {objective} (mean over trials, the others as they came;")
    print("95% interval where they were drawn)\n")
    print(tabulate(effect_rows(effects), EFFECT_HEADERS, disable_numparse=True))
    print(f"\nlies in {directory}")
    quoted = shlex.quote(str(directory))
    print("\nto train the best one by itself, to see it all, and to have it as a page:\n")
    print(f"  python -m gnexp.train --config={quoted}/best.py")
    print(f"  tensorboard --logdir={quoted}")
    print(f"  python -m gnexp.report --workdir={quoted}")


def fell_back(asked: str, used: str, why: str = "") -> None:
    """Says loudly that another dataset is trained on than the one asked for."""
    print(f"\n*** THIS TRAINING USES {used}, NOT {asked} ***\n{why}", file=sys.stderr, flush=True)


def summary(result, directory: pathlib.Path) -> None:
    """Prints the end of a training from its `result.Result`: the figures, where it lies and how to look at it."""
    best, last = result.history[result.best_epoch - 1], result.history[-1]
    print()
    for name, figures in (("best", best), ("final", last)):
        print(
            f"{name + ':':<7} val_accuracy {figures['val_accuracy']:.4f}   val_loss {figures['val_loss']:.4f}"
            f"   (epoch {figures['epoch']} of {len(result.history)})"
        )
    print(
        f"test:   accuracy {result.test_accuracy:.4f}   loss {result.test_loss:.4f}   (the weights of the best epoch, "
        + (
            "which was chosen on the test set: config.data.validation)"
            if result.validation == "test"
            else "measured once)"
        )
    )
    print(f"time:   {result.seconds:.1f} s on {result.dataset}")
    print(f"lies in {directory}")
    # Not the folder itself: the HParams plugin loses the metrics of a session that is the root of the logdir.
    parent = directory.parent if directory.name else directory.resolve().parent
    print(f"\n  tensorboard --logdir={shlex.quote(str(parent))}")


@contextlib.contextmanager
def native_stderr(path: pathlib.Path) -> Iterator[None]:
    """Sends what C++ code writes to stderr to the end of a file; Python's stderr stays what it is.

    TensorFlow 2.21 greets with a screenful whatever TF_CPP_MIN_LOG_LEVEL says (tensorflow/tensorflow#100442).
    """
    with path.open("ab") as file:
        sys.stderr.flush()
        terminal, python_stderr = os.dup(2), sys.stderr
        with os.fdopen(terminal, "w", buffering=1, errors="backslashreplace") as sys.stderr:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(terminal, 2)
                sys.stderr = python_stderr
