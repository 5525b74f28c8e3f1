"""Trials side by side: the same sweep as one after the other, whatever happens to its processes."""

import fcntl
import os
import pathlib
import signal
import time

import numpy as np
import pytest

from gnexp import config as configs
from gnexp import outcomes, workdir
from gnexp.errors import UserError
from gnexp.executors import processes
from gnexp.space import choice
from tests.sweeps import TOO_FAST, run, tiny

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.skipif(not pathlib.Path("/proc/self/fd").exists(), reason="looks for the processes in /proc"),
]


def _workers(directory):
    """Returns slot -> process id of the processes of the sweep in a folder, whoever their parent is by now."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            log = (process / "fd/2").readlink()
            command = (process / "cmdline").read_text()
        except OSError:  # ended, or another user's
            continue
        if log.parent == directory and "spawn_main" in command:
            found[int(log.stem.removeprefix("backend-"))] = int(process.name)
    return found


def _until(condition, seconds=120):
    """Returns what `condition` gives, once it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def _folder(directory, trial):
    return outcomes.execution(outcomes.folder(directory, trial), 0)


def _processes_of(directory, trial):
    """Returns how many processes worked on a trial."""
    return len(workdir.read_json(_folder(directory, trial) / workdir.PROVENANCE) or [])


def _has_open(process, path):
    try:
        return any(entry.readlink() == path for entry in pathlib.Path(f"/proc/{process}/fd").iterdir())
    except OSError:  # it closes files meanwhile, or has ended
        return False


def _hold(directory, trials, before):
    """Stops the process of each trial in its epochs, so that both are in flight however slow the machine is.

    Args:
      directory: the sweep's workdir.
      trials: their ids.
      before: how many processes worked on each before.

    Returns:
      Process ids by trial.
    """
    held = {}

    def hold():
        for trial in set(trials) - set(held):
            folder = _folder(directory, trial)
            if _processes_of(directory, trial) > before and (folder / workdir.CHECKPOINT).exists():
                for worker in _workers(directory).values():
                    if _has_open(worker, folder / ".lock"):
                        os.kill(worker, signal.SIGSTOP)
                        held[trial] = worker
        return len(held) == len(trials)

    _until(hold)
    return held


def _let_go(held):
    for worker in held.values():
        os.kill(worker, signal.SIGCONT)


def _file(folder, config):
    """Writes a config file that gives `config`, for the command line."""
    path = folder / "sweep.py"
    values = configs.to_json(config)
    path.write_text(f"from gnexp.config import from_json\n\n\ndef get_config():\n    return from_json({values!r})\n")
    return str(path)


def _same(found, expected):
    """Compares trials, figures up to rounding: sums come out differently where threads share them differently."""
    for one, other in zip(found, expected, strict=True):
        assert (one.trial_id, one.values, one.status) == (other.trial_id, other.values, other.status)
        assert one.message == other.message
        for ours, theirs in zip(one.results, other.results, strict=True):
            for name in ("loss", "val_loss"):
                np.testing.assert_allclose(
                    [epoch[name] for epoch in ours.history], [epoch[name] for epoch in theirs.history], rtol=1e-4
                )


def test_whatever_is_killed_the_grid_is_that_of_one_trial_after_the_other(gnexp_train, tmp_path):
    """One story, for each chapter of its own would start TensorFlow three times more."""
    rates = {"optimizer": {"learning_rate": choice(1e-2, 2e-2, 3e-2, TOO_FAST)}}
    config, directory = tiny("grid", trials=4, epochs=20, parallel=2, **rates), tmp_path / "sweep"

    def start():
        return gnexp_train.start(f"--workdir={directory}", config=_file(tmp_path, config))

    # Killed as often as that, trial 0000 is given up.
    process, killed = start(), set()
    while len(killed) < 3:
        worker = _until(lambda: _workers(directory).get(0))
        if worker not in killed:
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
    both = ["0001", "0002"]
    held = _hold(directory, both, before=0)
    process.terminate()
    time.sleep(1)
    _let_go(held)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert stderr.startswith("gnexp: stopped by SIGTERM in 2 trials; everything is saved. To go on: ")
    assert stderr.count("\n") == 1 and not _workers(directory)
    for trial in both:
        assert workdir.read_json(_folder(directory, trial) / workdir.RESULT)["status"] == "stopped"

    process = start()
    held = _hold(directory, both, before=1)
    process.kill()
    _let_go(held)
    process.communicate()
    _until(lambda: not _workers(directory), seconds=2)

    # Once is not too often.
    process = start()
    os.kill(_hold(directory, ["0001"], before=2)["0001"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 0 and stderr == "" and not _workers(directory)

    first, *others = outcomes.read(directory)
    assert first.status == "failed"
    assert first.message.startswith("KilledError: its process died 3 times, last of SIGKILL: is there enough memory?")
    assert [_processes_of(directory, each.trial_id) for each in others] == [4, 3, 1]
    assert [each.status for each in others] == ["completed", "completed", "failed"]
    config.sweep.parallel = 1
    _same(others, run(config, tmp_path / "serial")[1:])


def test_a_mistake_in_one_process_stops_all_and_then_hyperband_comes_to_its_end(tmp_path):
    config = tiny("hyperband", trials=5, epochs=3, parallel=2)
    taken = outcomes.execution(outcomes.folder(tmp_path, "0001"), 0) / ".lock"
    taken.parent.mkdir(parents=True)
    with taken.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="0001/seed-0 is in use"):
            run(config, tmp_path)
    assert not _workers(tmp_path)
    found = run(config, tmp_path)
    assert [each.status for each in found] == ["completed"] * 5
    assert sorted(len(each.results[0].history) for each in found) == [1, 1, 1, 3, 3]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the platform lets nobody choose processors")
@pytest.mark.parametrize(
    ("cpus", "slots", "shares"),
    [
        ({0, 1}, 2, [{0}, {1}]),
        ({0, 1, 4, 5, 6}, 2, [{0, 1}, {4, 5, 6}]),
        ({2, 3}, 3, [{2}, {3}, {2}]),
    ],
)
def test_each_process_has_its_share_of_the_processors(monkeypatch, cpus, slots, shares):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cpus)
    assert processes._shares(slots) == shares
