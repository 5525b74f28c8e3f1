"""kill -9 at random instants, then the same command: nothing lost, nothing twice, nothing torn, the same trials."""

import collections
import json
import random
import subprocess
import time

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from gnexp.analysis.sweep import read_trials

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
            "tests": [(done.test_accuracy, done.test_loss) for done in outcome.results],
        }
        for outcome in read_trials(directory)
    ]
    state = json.loads((directory / "oracle/oracle.json").read_text())
    kept = sorted(str(path.relative_to(directory)) for path in directory.rglob("checkpoints/*"))
    return {"trials": trials, "ends": state["end_order"], "tags": _tags(directory), "checkpoints": kept}


class _Watch:
    """Looks at a sweep's workdir after every kill."""

    def __init__(self, directory):
        self.directory = directory
        self.finished = {}

    def look(self):
        for path in self.directory.rglob("*.json"):
            if not path.name.startswith("."):
                json.loads(path.read_text())
        now = {}
        for path in self.directory.glob("trials/*/*/result.json"):
            if json.loads(path.read_text())["status"] in ("success", "failure"):
                now[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
        assert self.finished.items() <= now.items(), "a finished training was lost or run again"
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
        watch = _Watch(folder / f"killed-{counts['sweeps']}")
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
        found = _account(watch.directory)
        for name in expected:
            assert found[name] == expected[name], f"{name} of sweep {counts['sweeps']}"
    print(f"{tuner}: {dict(counts)}")


def test_kills_leave_no_trace(gnexp_train, tmp_path):
    _fuzz(gnexp_train, "hyperband", kills=2, seed=0, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("tuner", _OPTIONS)
def test_a_hundred_and_twenty_kills_leave_no_trace(gnexp_train, tmp_path, tuner):
    _fuzz(gnexp_train, tuner, kills=30, seed=1, folder=tmp_path)
