"""Finds and stops the processes of a sweep's trials, and compares a sweep with an undisturbed one."""

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gnexp.analysis.outcomes import Outcome
from gnexp.workdir import files

HAS_PROC = pathlib.Path("/proc/self/fd").exists()


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Waits until `condition` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def folder(directory: pathlib.Path, trial: str) -> pathlib.Path:
    """Returns the workdir of a trial's first execution."""
    return files.execution_folder(files.trial_folder(directory, trial), 0)


def processes_of(directory: pathlib.Path, trial: str) -> int:
    """Returns how many processes have worked on a trial so far."""
    return len(files.read_json(folder(directory, trial) / files.PROVENANCE) or [])


def holder(path: pathlib.Path) -> int | None:
    """Returns the process that holds the lock of a training's workdir, if there is one."""
    lock = path / ".lock"
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if any(entry.readlink() == lock for entry in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # it closes files meanwhile, has ended, or is another user's
            continue
    return None


def parent(process: int) -> int:
    """Returns the process that started a process."""
    return int(pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def descendants(process: int) -> set[int]:
    """Returns a process, those that it has started, and those that these have."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(path.name)] = parent(int(path.name))
    found = {process}
    while more := {child for child, its in parents.items() if its in found} - found:
        found |= more
    return found


def named(name: str) -> set[int]:
    """Returns the processes whose program has a name."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == name:
                found.add(int(path.parent.name))
    return found


def hold(directory: pathlib.Path, before: Mapping[str, int]) -> dict[str, int]:
    """Stops the process of each trial during its epochs, so that all are in flight however slow the machine is.

    Args:
      directory: the sweep's workdir.
      before: how many processes had worked on each trial before.

    Returns:
      Process ids by trial.
    """
    held = {}

    def all_held() -> bool:
        for trial in before.keys() - held.keys():
            where = folder(directory, trial)
            begun = processes_of(directory, trial) > before[trial] and (where / files.CHECKPOINT).exists()
            if begun and (process := holder(where)):
                os.kill(process, signal.SIGSTOP)
                held[trial] = process
        return len(held) == len(before)

    until(all_held)
    return held


def let_go(held: dict[str, int]) -> None:
    """Continues the processes that `hold` stopped."""
    for process in held.values():
        os.kill(process, signal.SIGCONT)


def assert_same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    """Compares trials, with figures only up to rounding, because threads may split sums differently."""
    for one, other in zip(found, expected, strict=True):
        assert (one.trial_id, one.values, one.status) == (other.trial_id, other.values, other.status)
        assert one.message == other.message
        for ours, theirs in zip(one.results, other.results, strict=True):
            for name in ("loss", "val_loss"):
                np.testing.assert_allclose(
                    [epoch[name] for epoch in ours.history], [epoch[name] for epoch in theirs.history], rtol=1e-4
                )
