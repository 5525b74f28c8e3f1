"""How the benchmarks measure, and how they show what they found.

Contestants take turns, round after round, so that whatever else the machine does affects them all. Each round begins
with another contestant. A ratio is the median, over the rounds, of the ratio of two turns of the same round. A spread
is half the interquartile range over the rounds.
"""

import contextlib
import datetime
import importlib
import importlib.metadata
import multiprocessing
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from absl import flags
from tabulate import tabulate

from gnexp.workdir import files
from gnexp.workdir.provenance import provenance

_SPAWN = multiprocessing.get_context("spawn")
_FEWEST = 3  # rounds for a spread to be shown
_PACKAGES = ("tensorflow", "keras", "jax", "keras-tuner", "tensorboard", "flax", "torch", "numpy")


def peer(module: str) -> Any:
    """Imports a module that gnexp does not depend on; raises ModuleNotFoundError if it is not installed."""
    return importlib.import_module(module)


def turns_of(
    makers: Mapping[str, Callable[[], Callable[[int], Any]]], seconds: float
) -> dict[str, Callable[[], float]]:
    """Returns the contestants that can be made, and prints which are left out. A turn returns its seconds per step.

    Args:
      makers: return functions that do a number of steps, or raise ModuleNotFoundError.
      seconds: about how long a turn takes.
    """
    turns = {}
    for name, make in makers.items():
        try:
            turns[name] = _turn(make(), seconds)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error} (make peers installs it)")
    return turns


def elsewhere(make: Callable[[], Callable[[int], Any]]) -> Callable[[], Callable[[int], Any]]:
    """Returns a maker like `make`, which must be picklable, whose runs are done in a process of their own.

    What a contestant sets for all of a process, such as the number of its threads, is then its own.
    """

    def made() -> Callable[[int], Any]:
        ours, theirs = _SPAWN.Pipe()
        _SPAWN.Process(target=_runs, args=(theirs, make), daemon=True).start()
        theirs.close()  # Otherwise the end of a process that fails would never be seen.
        if missing := ours.recv():
            raise ModuleNotFoundError(missing)

        def run(steps: int) -> None:
            ours.send(steps)
            ours.recv()

        return run

    return made


def _runs(connection: Connection, make: Callable[[], Callable[[int], Any]]) -> None:
    flags.FLAGS(sys.argv)
    try:
        run = make()
    except ModuleNotFoundError as error:
        connection.send(str(error))
        return
    connection.send("")
    with contextlib.suppress(EOFError):  # The benchmark has ended.
        while True:
            run(connection.recv())
            connection.send("")


def _turn(run: Callable[[int], Any], seconds: float) -> Callable[[], float]:
    """Returns a contestant that measures the seconds per step of `run`, which takes a number of steps."""

    def timed(steps: int) -> float:
        began = time.perf_counter()
        run(steps)
        return time.perf_counter() - began

    timed(1)  # compiles
    steps = 1
    while (took := timed(steps)) < seconds / 4:
        steps *= 4
    steps = max(1, round(steps * seconds / min(took, timed(steps))))

    def turn() -> float:
        return timed(steps) / steps

    return turn


def take_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns what each contestant's turns gave, round by round."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contestants[name]())
    return found


def compare(found: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, Any]]:
    """Returns for each contestant the median and spread of its turns and of the reference's ratios to them."""
    figures = {}
    for name, turns in found.items():
        ratios = [theirs / ours for theirs, ours in zip(found[reference], turns, strict=True)]
        figures[name] = {
            "median": statistics.median(turns),
            "spread": _spread(turns),
            "ratio": statistics.median(ratios),
            "ratio_spread": _spread(ratios),
            "turns": list(turns),
        }
    return figures


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def in_words(figure: Mapping[str, Any], unit: float = 1e-3) -> str:
    """Returns a contestant's cell: its ratio, and in parentheses its time in the unit (of seconds), by default ms."""
    median, spread = figure["median"] / unit, figure["spread"] / unit
    digits = max(0, 2 - len(str(int(median))) + (median < 1))
    took = f"{median:.{digits}f}" + (f" ±{spread:.{digits}f}" if len(figure["turns"]) >= _FEWEST else "")
    return f"{figure['ratio']:.2f} ({took})"


def show(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> None:
    """Prints a table with its first column aligned to the left."""
    print(tabulate(rows, headers, disable_numparse=True, colalign=["left"] + ["right"] * (len(headers) - 1)))


def write(path: str, figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON, together with the date, the machine and the versions."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    about = provenance()
    conditions = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{name: about[name] for name in ("processor", "cpus", "git")},
        "versions": versions,
    }
    files.write_json(pathlib.Path(path), {**conditions, **figures})
