"""kill -9 at random instants, then the same command: nothing lost, nothing twice, nothing torn, the same trials."""

import collections
import json
import os
import random
import shutil
import subprocess
import time

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from gnexp.analysis.sweep import read_trials
from gnexp.errors import UserError
from gnexp.workdir import files
from tests.support import faults
from tests.support.nursery import Nursery

pytestmark = pytest.mark.any_backend

_TINY = (
    # All batches have one size. Otherwise each training compiles its step twice.
    "--config.data.train_size=96",
    "--config.data.validation=48",
    "--config.model.args.filters=4",
    "--config.model.args.units=8",
    "--config.sweep.executions=1",
    "--config.sweep.max_trials=6",
    "--config.sweep.space.model.groups.values=1,2,4",
    "--config.sweep.space.data.batch_size.values=16,32",
)
_OPTIONS = {
    "random": ("--config.sweep.executions=2", "--config.sweep.max_trials=4"),
    # Only the learning rate changes in its first trials, and the last of them fail.
    "grid": ("--config.sweep.space.optimizer.learning_rate.cases.adam.max_value=1e30",),
    # Two hyperparameters have four random trials; the others are the Gaussian process's.
    "bayesian": (
        "--config.sweep.space.model.groups.values=4",
        "--config.sweep.space.data.batch_size.values=32",
        "--config.sweep.space.optimizer.name.values=adam",
    ),
    # Three epochs at most: a bracket of 3 trials of 1 epoch and 1 of 3, then others of 3.
    "hyperband": ("--config.epochs=3", "--config.sweep.max_trials=4"),
    # Settings of one epoch, of which some continue to the second, and then further seeds.
    "racing": (
        "--config.sweep.executions=2",
        "--config.sweep.space.model.groups.values=1,4",
        "--config.sweep.space.data.batch_size.values=32",
        "--config.sweep.space.optimizer.name.values=adam",
    ),
}


def _command(tuner, directory):
    flags = (*_TINY, f"--config.sweep.tuner={tuner}", *_OPTIONS[tuner], f"--workdir={directory}")
    return {flag.partition("=")[0]: flag for flag in flags}.values()


def _tags(directory):
    """Returns run -> tag -> steps and values, as TensorBoard reads the sweep."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    tags = {}
    for run, found in multiplexer.Runs().items():
        for tag in found["tensors"]:
            events = multiplexer.Tensors(run, tag)
            tags[run, tag] = [
                (
                    event.step,
                    None if tag == "config" or tag.startswith("_hparams_") else event.tensor_proto.float_val[:],
                )
                for event in events
            ]
    return tags


def _account(directory):
    """Returns everything about a finished sweep that must not depend on how often it was killed."""
    trials = [
        {
            "id": outcome.trial_id,
            "values": outcome.values,
            "status": outcome.status,
            "message": outcome.message,
            "mean": outcome.mean,
            "results": [[{**epoch, "seconds": 0} for epoch in done.history] for done in outcome.results],
            "tests": [done.test for done in outcome.results],
        }
        for outcome in read_trials(directory)
    ]
    state = json.loads((directory / "oracle/oracle.json").read_text())
    kept = sorted(str(path.relative_to(directory)) for path in directory.rglob("checkpoints/*"))
    return {"trials": trials, "ends": state["end_order"], "tags": _tags(directory), "checkpoints": kept}


class _Watch:
    """Looks at a sweep's workdir after every kill, and counts what is lost, repeated or torn."""

    def __init__(self, directory, counts):
        self.directory = directory
        self.finished = {}
        self.counts = counts

    def look(self):
        for path in self.directory.rglob("*.json"):
            if not path.name.startswith("."):
                try:
                    files.read_json(path)  # compares its checksum
                except UserError:
                    self.counts["torn"] += 1
        now = {}
        for path in self.directory.glob("trials/*/*/result.json"):
            if json.loads(path.read_text())["status"] in ("success", "failure"):
                now[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
        self.counts["lost"] += len(self.finished.keys() - now.keys())
        self.counts["repeated"] += sum(now[path] != self.finished[path] for path in self.finished.keys() & now.keys())
        self.finished = now


def _fuzz(gnexp_train, tuner, kills, seed, folder):
    """Kills as many times as `kills`, over several sweeps, and compares each with one that was never killed."""
    began = time.monotonic()
    done = gnexp_train(*_command(tuner, folder / "unbroken"), config="configs/smoke_sweep.py")
    assert done.returncode == 0, done.stderr
    duration = time.monotonic() - began
    expected = _account(folder / "unbroken")
    statuses = {trial["status"] for trial in expected["trials"]}
    assert statuses == ({"completed", "failed"} if tuner == "grid" else {"completed"})
    random_instants = random.Random(seed)
    counts = collections.Counter()
    while counts["kills"] < kills:
        counts["sweeps"] += 1
        watch = _Watch(folder / f"killed-{counts['sweeps']}", counts)
        while True:
            process = gnexp_train.start(*_command(tuner, watch.directory), config="configs/smoke_sweep.py")
            patience = random_instants.uniform(1, duration) if counts["kills"] < kills else 300
            try:
                _, stderr = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                counts["kills"] += 1
                watch.look()
                continue
            assert process.returncode == 0, stderr
            watch.look()
            break
        _compare(_account(watch.directory), expected, counts)
    _conclude(tuner, counts)


def _compare(found, expected, counts):
    for name in expected:
        assert found[name] == expected[name], f"{name} of sweep {counts['sweeps']}: {dict(counts)}"


def _conclude(what, counts):
    counted = {name: counts[name] for name in ("kills", "sweeps", "lost", "repeated", "torn")}
    print(f"{what}: {counted}")
    assert counts["lost"] == counts["repeated"] == counts["torn"] == 0, counted


@pytest.mark.slow
@pytest.mark.parametrize("tuner", _OPTIONS)
def test_kills_of_the_command_leave_no_trace(gnexp_train, tmp_path, tuner):
    _fuzz(gnexp_train, tuner, kills=10, seed=1, folder=tmp_path)


# Forks of one process take a second each, so that there can be over a thousand kills: 5 times 240 here, and 50 above.


def _fuzz_forks(nursery, tuner, executor, kills, folder, more=()):
    """Does in forks what `_fuzz` does with the real command."""
    chance, counts = random.Random(f"{tuner} {executor}"), collections.Counter()

    def run(directory, patience, worker_after=None):
        argv = ["--config=configs/smoke_sweep.py", *_command(tuner, directory), *_EXECUTORS[executor], *more]
        return nursery.run(argv, patience, worker_after)

    began = time.monotonic()
    assert run(folder / "unbroken", 600) == (0, 0), nursery.said()
    duration = time.monotonic() - began
    expected = _account(folder / "unbroken")
    view = dict if executor == "serial" else _same_in_any_order
    while counts["kills"] < kills:
        counts["sweeps"] += 1
        watch = _Watch(folder / f"killed-{counts['sweeps']}", counts)
        code = None
        while code is None:
            patience = chance.uniform(0, 0.8 * duration) if counts["kills"] < kills else 600
            early = executor == "processes" and chance.random() < 0.5
            code, killed = run(watch.directory, patience, patience * chance.random() if early else None)
            counts["kills"] += killed
            watch.look()
        assert code == 0, nursery.said()
        _compare(view(_account(watch.directory)), view(expected), counts)
        shutil.rmtree(watch.directory)
    _conclude(f"{tuner}, {executor}", counts)


def test_kills_leave_no_trace(nursery, tmp_path):
    _fuzz_forks(nursery, "hyperband", "serial", kills=1, folder=tmp_path)


_KILLS = {"serial": 130, "processes": 90, "ray": 20}
_EXECUTORS = {
    "serial": (),
    "processes": ("--config.sweep.executor=processes", "--config.sweep.parallel=2"),
    "ray": ("--config.sweep.executor=ray", "--config.sweep.parallel=1"),
}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    """A process that has imported TensorFlow, whose forks run the command."""
    with Nursery(tmp_path_factory.mktemp("nursery") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def cluster():
    """The address of a Ray cluster, which outlives the sweeps."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield made.address
    made.shutdown()


def _same_in_any_order(account):
    """Returns what does not depend on which of two trials ends first, with figures rounded.

    Bayesian optimization, hyperband and racing choose by what has ended, so that with two trials at a time only whether
    all is there can be compared.
    """
    return {
        "ids": [trial["id"] for trial in account["trials"]],
        "done": [(trial["status"], [len(history) for history in trial["results"]]) for trial in account["trials"]],
        "ends": sorted(account["ends"]),
        "curves": {
            key: [step for step, _ in points] for key, points in account["tags"].items() if key[1].startswith("epoch_")
        },
    }


@pytest.mark.slow
@pytest.mark.skipif(not faults.HAS_PROC, reason="looks for the processes in /proc")
@pytest.mark.parametrize("tuner", _OPTIONS)
@pytest.mark.parametrize("executor", _EXECUTORS)
def test_hundreds_of_kills_leave_no_trace(nursery, tmp_path, tuner, executor, request):
    kills = int(os.environ.get("GNEXP_KILLS", _KILLS[executor]))
    more = (f"--ray_address={request.getfixturevalue('cluster')}",) if executor == "ray" else ()
    _fuzz_forks(nursery, tuner, executor, kills, tmp_path, more)
