"""A training that cannot fit into memory is refused beforehand, and one that runs out of it ends in a line."""

import resource

import keras
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import smoke, smoke_sweep
from gnexp.data.splits import Split, Splits
from gnexp.models.outputs import Outputs
from gnexp.space import by, choice, floats, integers
from gnexp.terminal import machine
from gnexp.training import memory
from tests.support import sweeps

GIB = 2**30


def test_the_limit_is_the_lowest_of_machine_cgroup_and_ulimit(tmp_path, monkeypatch):
    assert 2**28 < machine.memory() < 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (GIB, resource.RLIM_INFINITY))
    assert machine.memory() == GIB
    monkeypatch.setattr(machine, "_of_cgroups", lambda: iter([5, 7]))
    assert machine.memory() == 5


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "123", "memory.max": "456"}, [123, 456]),
        ("0::/not/seen/here", {"memory.max": "789"}, [789]),
        ("5:cpu:/a\n4:memory:/a", {"memory/a/memory.limit_in_bytes": "11", "a/memory.max": "3"}, [11]),
        ("0::/", {}, []),
    ],
)
def test_the_limits_of_cgroups(tmp_path, monkeypatch, own, files, expected):
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_CGROUPS", tmp_path / "own")
    assert list(machine._of_cgroups()) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--config.model.units=1000000000"],
            "config.model.args.units=1000000000 with config.model.args.filters=(8, 16)",
        ),
        (["--config.model.filters=(1000000, 1000000)"], "config.model.args.filters=(1000000, 1000000)"),
    ],
)
@pytest.mark.any_backend
def test_a_network_that_cannot_fit_is_refused_before_anything_heavy(gnexp_train, unheavy, tmp_path, arguments, says):
    done = gnexp_train(*arguments, f"--workdir={tmp_path / 'it'}", PYTHONPATH=unheavy)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and says in done.stderr and "takes at least" in done.stderr
    assert not (tmp_path / "it").exists()


@pytest.mark.any_backend
def test_a_search_space_that_cannot_fit_is_refused_also_by_dry_run(gnexp_train, unheavy, tmp_path):
    config = sweeps.tiny(
        trials=2, model={"args": {"units": integers(8, 10**9, step=10**8)}, "epsilon": floats(1e-7, 1e-2)}
    )
    path = sweeps.config_file(tmp_path, config)
    for arguments in (["--dry_run"], [f"--workdir={tmp_path / 'it'}"]):
        done = gnexp_train(*arguments, config=path, PYTHONPATH=unheavy)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "config.model.args.units=" in done.stderr and "is not allowed" in done.stderr
    assert not (tmp_path / "it").exists()


def test_the_largest_trials_have_the_largest_numbers_and_every_other_choice():
    config = smoke_sweep.get_config()
    space = {
        "model": {
            "args": {"units": choice(8, 64, 32), "l2": floats(0.0, 1.0)},
            "norm": choice("group", "batch"),
        },
        "data": {"batch_size": by("model.norm", group=integers(1, 16), batch=choice(32, 8))},
        "schedule": {"name": choice("cosine", "constant")},
    }
    config.sweep.space = ConfigDict(space)
    found = [(each.model.args.units, each.model.norm, each.data.batch_size) for each in memory.largest(config)]
    assert sorted(found) == [(64, "batch", 32), (64, "group", 16)]
    assert list(memory.largest(smoke.get_config())) == [smoke.get_config()]
    config.sweep.executor = "ray"
    assert list(memory.largest(config)) == []


def test_batch_size_and_optimizer_count(small, monkeypatch):
    few = Split(np.zeros((2, 28, 28, 1), np.uint8), np.zeros(2, np.int32))
    needed, splits = [], Splits(few, few, few)
    monkeypatch.setattr(memory, "_compare", lambda count, *_: needed.append(count))
    for name, batch in (("sgd", 16), ("adam", 16), ("adam", 160)):
        small.optimizer.name, small.data.batch_size = name, batch
        memory.check(small, splits, Outputs(10))
    assert needed[0] < needed[1] < needed[2]


def _said(done):
    """Returns the only line of a command's stderr."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gnexp: ")
    return line


def test_what_does_not_fit_is_refused_with_its_figures_and_records_nothing(small, tmp_path, monkeypatch, train_here):
    monkeypatch.setattr(memory, "limit", lambda: 10 * 2**20)
    done = train_here("--config.data.batch_size=1000", f"--workdir={tmp_path / 'it'}")
    assert done.returncode == 2
    said = _said(done)
    assert "config.data.batch_size=1000 with config.optimizer.name='amsgrad'" in said
    assert "'dense'" in said and "and this process can have 10 MiB" in said
    assert not (tmp_path / "it" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.any_backend
def test_running_out_of_memory_is_one_line(tmp_path, monkeypatch, train_here):
    # The check is blind here, and the backend cannot have what the network asks for.
    monkeypatch.setattr(memory, "_compare", lambda *_: None)
    done = train_here("--config.model.units=1000000000", f"--workdir={tmp_path}")
    assert done.returncode == 1
    assert "out of memory (" in _said(done)


@pytest.mark.slow
@pytest.mark.any_backend
def test_a_trial_that_runs_out_of_memory_fails_and_the_sweep_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_compare", lambda *_: None)
    config = sweeps.tiny(trials=2, epochs=1, model={"args": {"units": choice(8, 10**9)}})
    first, second = sweeps.run(config, tmp_path)
    assert (first.status, second.status) == ("completed", "failed")
    assert second.message.startswith("OutOfMemoryError: out of memory (")


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="it takes 10 seconds there: a slow test, above")
def test_the_backends_error_is_known():
    says = r"out of memory .*(OOM|RESOURCE_EXHAUSTED).*: lower config"
    with pytest.raises(memory.OutOfMemoryError, match=says) as caught, memory.in_one_line():
        keras.ops.zeros((10**7, 10**7)) + 1
    assert "\n" not in str(caught.value)


def test_other_errors_are_left_alone():
    with pytest.raises(ValueError, match="a mistake"), memory.in_one_line():
        raise ValueError("a mistake")
    with pytest.raises(memory.OutOfMemoryError, match=r"out of memory \(MemoryError\)"), memory.in_one_line():
        raise MemoryError
    with pytest.raises(memory.OutOfMemoryError, match="Unable to allocate"), memory.in_one_line():
        np.empty((10**9, 10**9))
