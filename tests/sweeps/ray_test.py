"""The same sweep on Ray: no finished epoch is lost with a process, a node or the driver."""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from gnexp import train
from gnexp.analysis.sweep import read_trials
from gnexp.errors import InterruptedTrainingError, UserError
from gnexp.space import choice
from gnexp.workdir import files
from tests.support import faults
from tests.support.sweeps import TOO_FAST, config_file, run, tiny

pytestmark = pytest.mark.any_backend
ROOT = pathlib.Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="needs Ray: pip install -e '.[ray]'")
_RATES = {"optimizer": {"learning_rate": choice(1e-2, 2e-2, TOO_FAST)}}
needs_proc = pytest.mark.skipif(not faults.HAS_PROC, reason="looks for the processes in /proc")


def on_ray(config, parallel=2, cpus=1, gpus=0.0):
    config.sweep.executor, config.sweep.parallel = "ray", parallel
    config.sweep.resources.cpus, config.sweep.resources.gpus = cpus, gpus
    return config


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose head takes no trials."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


@needs_ray
def test_a_sweep_is_the_same_on_ray_as_one_trial_after_the_other(tmp_path):
    config = on_ray(tiny("grid", trials=3, epochs=2, **_RATES), parallel=1)
    found = run(config, tmp_path / "ray")
    config.sweep.executor, config.sweep.parallel = "serial", 1
    expected = run(config, tmp_path / "serial")
    assert [each.status for each in expected] == ["completed", "completed", "failed"]
    faults.assert_same(found, expected)


@needs_ray
def test_rays_folder_has_a_short_path_unless_the_user_names_another(tmp_path, monkeypatch):
    from gnexp.sweeps.executors import ray_cluster  # Imports Ray.

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # what TMPDIR names
    for name, expected in (("", "/tmp"), (str(tmp_path), str(tmp_path))):
        monkeypatch.setenv("RAY_TMPDIR", name)
        with ray_cluster._own_cluster() as options:
            assert str(pathlib.Path(options["_temp_dir"]).parents[1]) == expected


def listening(processes: set[int]) -> dict[int, str]:
    """Returns the addresses on which processes listen, as `/proc` writes them, by port."""
    sockets = set()
    for process in processes:
        for link in pathlib.Path(f"/proc/{process}/fd").glob("*"):
            with contextlib.suppress(OSError):  # closed meanwhile
                sockets.add(str(link.readlink()))
    found = {}
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            address, port = local.split(":")
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                found[int(port, 16)] = address
    return found


LOOPBACK = {"0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F"}  # 127.0.0.1, ::1, ::ffff:127.0.0.1


@needs_ray
@needs_proc
def test_a_cluster_of_ones_own_is_nobody_elses(tmp_path, monkeypatch):
    import ray

    from gnexp.sweeps.executors import ray_cluster

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    before = dict(os.environ)
    former = os.umask(0)
    try:
        with ray_cluster.connected(None, tmp_path, []):
            assert ray.get(ray.remote(lambda: True).remote())
            addresses = listening(faults.descendants(os.getpid()))
            folder = pathlib.Path(ray._private.worker._global_node.get_session_dir_path()).parents[1]
            assert folder.stat().st_mode & 0o777 == 0o700
            assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
            assert os.environ["RAY_AUTH_MODE"] == "token"
    finally:
        os.umask(former)
    assert len(addresses) >= 3 and set(addresses.values()) <= LOOPBACK, addresses
    assert not folder.exists()
    assert not (tmp_path / ".ray").exists(), "the token is in a file"
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        assert os.environ.get(name) == before.get(name)


@needs_ray
@needs_proc
@pytest.mark.slow
def test_a_head_that_dies_while_it_starts_is_said(gnexp_train, tmp_path):
    config = on_ray(tiny("grid", trials=1), parallel=1)
    process = gnexp_train.start(f"--workdir={tmp_path / 'sweep'}", config=config_file(tmp_path, config))
    [head] = faults.until(lambda: faults.named("gcs_server") & faults.descendants(process.pid))
    os.kill(head, signal.SIGKILL)
    _, stderr = process.communicate(timeout=45)  # Ray itself would take a minute, and say nothing.
    assert process.returncode == 1 and stderr.count("\n") == 1
    assert stderr.startswith("gnexp: the Ray cluster is lost (its gcs_server died while it started, see /")
    assert stderr.endswith("); every finished epoch is saved, and the same command resumes the sweep\n")


@needs_ray
@pytest.mark.parametrize("signalled", [False, True])
def test_a_start_of_ray_that_does_not_end_is_not_waited_for(tmp_path, monkeypatch, signalled):
    from gnexp.sweeps.executors import ray_cluster

    over = threading.Event()
    monkeypatch.setattr(ray_cluster.ray, "init", lambda **_: over.wait(60))
    monkeypatch.setattr(ray_cluster, "_head_died", lambda: not signalled)
    expected = InterruptedTrainingError if signalled else ray_cluster.ClusterLostError
    with pytest.raises(expected), ray_cluster.connected("auto", tmp_path, [signal.SIGTERM] if signalled else []):
        pass
    over.set()


@needs_proc
def test_a_head_of_this_process_that_is_dead_is_seen(tmp_path):
    pytest.importorskip("ray")
    from gnexp.sweeps.executors import ray_cluster

    program = tmp_path / "gcs_server"
    program.symlink_to(shutil.which("sleep"))
    with subprocess.Popen([program, "60"]) as head:
        assert not ray_cluster._head_died()
        head.kill()
        faults.until(ray_cluster._head_died)
    assert not ray_cluster._head_died()


@needs_ray
def test_a_gpu_that_is_not_there_is_refused_before_anything_begins(tmp_path, monkeypatch):
    from gnexp.sweeps.executors import ray_cluster

    monkeypatch.setattr(ray_cluster, "gpus_here", lambda: 1)
    with pytest.raises(UserError, match=r"config\.sweep\.resources\.gpus=2 is not allowed: this machine has 1; --ray"):
        train.train(on_ray(tiny(), gpus=2.0), tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@needs_ray
@needs_proc
@pytest.mark.slow
def test_whatever_is_killed_the_grid_is_that_of_one_trial_after_the_other(gnexp_train, tmp_path):
    """One long test, because each part by itself would start Ray and TensorFlow again."""
    config, directory = on_ray(tiny("grid", trials=3, epochs=60, **_RATES)), tmp_path / "sweep"

    def start():
        return gnexp_train.start(f"--workdir={directory}", config=config_file(tmp_path, config))

    process = start()
    held = faults.hold(directory, {"0000": 0, "0001": 0})
    os.kill(held["0000"], signal.SIGKILL)
    held |= faults.hold(directory, {"0000": 1})
    process.kill()
    faults.let_go(held)
    process.communicate()
    faults.until(lambda: not any(faults.holder(faults.folder(directory, trial)) for trial in held))

    process = start()
    held = faults.hold(directory, {"0000": 2, "0001": 1})
    process.terminate()
    time.sleep(1)
    faults.let_go(held)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert stderr.startswith("gnexp: stopped by SIGTERM in 2 trials; everything is saved. To resume: ")
    assert stderr.count("\n") == 1
    for trial in held:
        assert files.read_json(faults.folder(directory, trial) / files.RESULT)["status"] == "stopped"

    # It may resume anywhere.
    config.sweep.executor, config.sweep.parallel = "serial", 1
    found = run(config, directory)
    expected = run(config, tmp_path / "serial")
    assert [each.status for each in expected] == ["completed", "completed", "failed"]
    faults.assert_same(found, expected)
    assert [faults.processes_of(directory, each.trial_id) for each in found] == [4, 3, 1]


@needs_ray
@needs_proc
@pytest.mark.slow
def test_a_lost_node_loses_no_finished_epoch(cluster, gnexp_train, tmp_path):
    config, directory = on_ray(tiny("grid", trials=3, epochs=60, **_RATES)), tmp_path / "sweep"
    process = gnexp_train.start(
        f"--workdir={directory}", f"--ray_address={cluster.address}", config=config_file(tmp_path, config)
    )
    assert process.stdout.readline() == f"workdir: {directory}\n"
    assert process.stdout.readline() == "waiting for a node with 1 CPU: the cluster has none now\n"
    lost, other = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    held = faults.hold(directory, {"0000": 0, "0001": 0})
    raylet = lost.all_processes["raylet"][0].process.pid
    [on_it] = [trial for trial, process in held.items() if faults.parent(process) == raylet]
    for each in (raylet, held.pop(on_it)):
        os.kill(each, signal.SIGKILL)
    faults.let_go(held)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0 and stderr == ""
    assert f"trial {on_it}: its process was lost; another process is starting on " in stdout
    assert [line for line in stdout.splitlines() if "raylet" in line] == []
    cluster.remove_node(other)

    config.sweep.executor, config.sweep.parallel = "serial", 1
    found = read_trials(directory)
    faults.assert_same(found, run(config, tmp_path / "serial"))
    assert faults.processes_of(directory, on_it) == 2
    # A trial that raises is not a lost process.
    assert found[2].status == "failed" and faults.processes_of(directory, "0002") == 1


@needs_ray
@pytest.mark.slow
def test_hyperband_waits_for_results_and_two_trials_share_a_gpu(cluster, tmp_path):
    node = cluster.add_node(num_cpus=2, num_gpus=1)
    found = run(on_ray(tiny("hyperband", trials=5, epochs=3), gpus=0.5), tmp_path, cluster.address)
    cluster.remove_node(node)
    assert [each.status for each in found] == ["completed"] * 5
    assert sorted(len(each.results[0].history) for each in found) == [1, 1, 1, 3, 3]


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can hide a folder from a node")
def test_a_node_that_does_not_share_the_file_system_is_refused(cluster, tmp_path):
    command = f"mount -t tmpfs none {tmp_path} && exec {sys.executable} -m ray.scripts.scripts start"
    command += f" --address={cluster.address} --num-cpus=2 --block"
    node = subprocess.Popen(["unshare", "--mount", "sh", "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        with pytest.raises(UserError, match=r"does not find the sweep in .*a file system that every node"):
            run(on_ray(tiny(), parallel=1, cpus=2), tmp_path / "sweep", cluster.address)
    finally:
        node.terminate()
        node.wait()


@needs_ray
@pytest.mark.slow
def test_a_lost_head_is_said(gnexp_train, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    config, directory = on_ray(tiny("grid", trials=1, epochs=10**6), parallel=1), tmp_path / "sweep"
    process = gnexp_train.start(
        f"--workdir={directory}", f"--ray_address={cluster.address}", config=config_file(tmp_path, config)
    )
    held = faults.hold(directory, {"0000": 0})  # and silent: the driver must not ask the head what it waits for
    os.kill(cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=100)
    faults.let_go(held)
    assert process.returncode == 1 and stderr.count("\n") == 1
    assert stderr.startswith("gnexp: the Ray cluster is lost (")
    assert stderr.endswith("); every finished epoch is saved, and the same command resumes the sweep\n")
    cluster.shutdown()


@needs_ray
@pytest.mark.parametrize(("gpus", "seen"), [(0.0, "-1"), (0.5, None)])
def test_who_gets_no_gpu_sees_none(gpus, seen):
    from gnexp.sweeps.executors import ray_cluster

    assert ray_cluster.environment(on_ray(tiny(), gpus=gpus).sweep.resources).get("CUDA_VISIBLE_DEVICES") == seen


def test_without_ray_a_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"config\.sweep\.executor='ray' needs Ray.*pip install 'gnexp\[ray\]'"):
        train.train(on_ray(tiny()), tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@needs_ray
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("head", "must be HOST:PORT, or auto"),
        ("head:0", "must be HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster answers there"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(tmp_path, address, said):
    with pytest.raises(UserError, match=said):
        train.train(on_ray(tiny()), tmp_path / "sweep", address)
    assert not (tmp_path / "sweep").exists()
