"""Trials side by side: the same sweep as one after the other, whatever happens to its processes."""

import errno
import multiprocessing
import os
import pathlib
import signal
import time

import pytest

from gnexp.analysis.sweep import read_trials
from gnexp.errors import InterruptedTrainingError, UserError
from gnexp.space import choice
from gnexp.sweeps.executors import processes
from gnexp.sweeps.trial import Task
from gnexp.workdir import files
from tests.support import faults
from tests.support.sweeps import TOO_FAST, config_file, run, tiny

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.skipif(not faults.HAS_PROC, reason="looks for the processes in /proc"),
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


def test_a_killed_worker_and_a_killed_sweep_lose_nothing_and_leave_nobody(gnexp_train, tmp_path):
    rates = {"optimizer": {"learning_rate": choice(1e-2, 2e-2)}}
    config, directory = tiny("grid", trials=2, epochs=12, parallel=2, **rates), tmp_path / "sweep"
    config.sweep.parallel = 1
    process = gnexp_train.start(f"--workdir={directory}", config=config_file(tmp_path, config))
    held = faults.hold(directory, {"0000": 0})
    os.kill(held["0000"], signal.SIGKILL)
    held = faults.hold(directory, {"0000": 1})
    process.kill()
    faults.let_go(held)
    stdout, _ = process.communicate()
    assert "trial 0000: its process died of SIGKILL; another process resumes it\n" in stdout
    faults.until(lambda: not _workers(directory), seconds=2)

    config.sweep.executor, config.sweep.parallel = "serial", 1  # It may resume anywhere.
    faults.assert_same(run(config, directory), run(config, tmp_path / "serial"))
    assert [faults.processes_of(directory, trial) for trial in ("0000", "0001")] == [3, 1]


@pytest.mark.slow
def test_whatever_is_killed_the_grid_is_that_of_one_trial_after_the_other(gnexp_train, tmp_path):
    """One long test, because each part by itself would start TensorFlow three more times."""
    rates = {"optimizer": {"learning_rate": choice(1e-2, 2e-2, 3e-2, TOO_FAST)}}
    config, directory = tiny("grid", trials=4, epochs=60, parallel=2, **rates), tmp_path / "sweep"

    def start():
        return gnexp_train.start(f"--workdir={directory}", config=config_file(tmp_path, config))

    # After three kills trial 0000 has failed.
    process, killed = start(), set()
    while len(killed) < 3:
        worker = faults.until(lambda: _workers(directory).get(0))
        if worker not in killed:
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
    both = ["0001", "0002"]
    held = faults.hold(directory, dict.fromkeys(both, 0))
    process.terminate()
    time.sleep(1)
    faults.let_go(held)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert stderr.startswith("gnexp: stopped by SIGTERM in 2 trials; everything is saved. To resume: ")
    assert stderr.count("\n") == 1 and not _workers(directory)
    for trial in both:
        assert files.read_json(faults.folder(directory, trial) / files.RESULT)["status"] == "stopped"

    process = start()
    held = faults.hold(directory, dict.fromkeys(both, 1))
    process.kill()
    faults.let_go(held)
    process.communicate()
    faults.until(lambda: not _workers(directory), seconds=2)

    # One kill does not fail a trial.
    process = start()
    os.kill(faults.hold(directory, {"0001": 2})["0001"], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0 and stderr == "" and not _workers(directory)
    assert stdout.startswith(f"workdir: {directory}\n")
    resumed = "\nresuming: 1 of 4 trials have ended already\ntrial 0001: its process died of SIGKILL; another process "
    assert f"{resumed}resumes it\n" in stdout

    first, *others = read_trials(directory)
    assert first.status == "failed"
    assert first.message.startswith("KilledError: its process died 3 times, last of SIGKILL: possibly out of memory")
    assert [faults.processes_of(directory, each.trial_id) for each in others] == [4, 3, 1]
    assert [each.status for each in others] == ["completed", "completed", "failed"]
    (process,) = files.read_json(faults.folder(directory, "0003") / files.PROVENANCE)
    assert process["command"][-1] == f"--workdir={directory}"
    config.sweep.parallel = 1
    faults.assert_same(others, run(config, tmp_path / "serial")[1:])


def test_a_mistake_in_one_process_stops_all_and_then_the_sweep_comes_to_its_end(tmp_path):
    config = tiny("hyperband", trials=2, epochs=3, parallel=2)
    spoilt = faults.folder(tmp_path, "0001") / files.CONFIG
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text("{")
    with pytest.raises(UserError, match=r"0001/seed-0/config\.json is damaged"):
        run(config, tmp_path)
    assert not _workers(tmp_path)
    spoilt.unlink()
    config.sweep.executor, config.sweep.parallel = "serial", 1  # It may resume anywhere.
    assert [each.status for each in run(config, tmp_path)] == ["completed"] * 2


class _Alive:
    """A worker whose process saves its trial when it is told to stop."""

    def __init__(self):
        self.task, self.connection, self.said = None, None, []

    def begin(self, task):
        self.task = task
        self.connection, self._theirs = multiprocessing.Pipe()

    def stop(self):
        self.said.append("stop")
        self._theirs.send(InterruptedTrainingError(signal.SIGTERM, "", pathlib.Path()))

    def hear(self):
        return self.connection.recv()

    def kill(self):
        self.said.append("kill")


class _Console:
    def trial(self, trial_id, epochs):
        pass


@pytest.mark.parametrize("fault", ["no process", "no log"])
def test_a_process_that_cannot_be_started_stops_the_sweep_and_the_other_trials_are_saved(tmp_path, monkeypatch, fault):
    def start(_):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    config, task = tiny("grid", trials=2, parallel=2), Task("0000", tmp_path, {}, 1, 1, None, "", {}, ())
    alive = _Alive()
    if fault == "no process":
        monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", start)
        says = pytest.raises(UserError, match=r"no other process can be started \(Resource temporarily unavailable\): ")
    else:
        (tmp_path / "backend-1.log").mkdir()
        says = pytest.raises(OSError, match=r"backend-1\.log")
    with says, processes.Processes(config, tmp_path, _Console(), []) as executor:
        executor._workers[0] = alive
        executor.submit(task)
        executor.submit(task)
    assert alive.said == ["stop", "kill"]


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
