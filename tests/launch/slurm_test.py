"""A sweep on a real Slurm, which the test starts on the loopback interface: two nodes, both of them this machine."""

import contextlib
import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest

from gnexp.analysis.sweep import read_trials
from gnexp.workdir import files, result
from tests.support.faults import until
from tests.support.sweeps import config_file, tiny

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.skipif(not shutil.which("slurmctld"), reason="needs Slurm: Debian's packages slurm-wlm and munge"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may start Slurm's daemons"),
]

ROOT = pathlib.Path(__file__).parents[2]
NODES = ("first", "second")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# The nodes have more CPUs than there are.
SlurmdParameters=config_overrides
MpiDefault=none
NodeName=first NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=second NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=debug Nodes=first,second Default=YES
"""


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _ray_folders():
    return set(pathlib.Path("/tmp").glob("gnexp-ray.*"))


class _Slurm:
    """The cluster's commands."""

    def __init__(self, conf):
        self.environment = {**os.environ, "SLURM_CONF": str(conf), "PYTHONPATH": str(ROOT)}
        self.daemons = []
        self.log = (conf.parent / "daemons.log").open("ab")

    def start(self, *command):
        self.daemons.append(subprocess.Popen(command, env=self.environment, stderr=self.log))

    def run(self, *command, **options):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def job(self, number):
        """Returns what Slurm says of a job."""
        return dict(re.findall(r"(\w+)=(\S+)", self.run("scontrol", "show", "job", str(number))))

    def processes(self):
        """Returns the commands of all processes that a job of this cluster started."""
        marks, found = (f"SLURM_CONF={self.environment['SLURM_CONF']}\0".encode(), b"SLURM_JOB_ID="), []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended, or another user's
                environment = (process / "environ").read_bytes()
                if all(mark in environment for mark in marks):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


@pytest.fixture
def slurm():
    """A cluster of two nodes."""
    # A job's socket is in its node's folder, and the path of a socket has at most 107 characters.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gnexp-slurm.", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname().partition(".")[0], ports=_free_ports(3), folder=folder))
    cluster = _Slurm(conf)
    munge = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
    files = [f"--{option}={folder / name}" for option, name in {**munge, "seed-file": "munge.seed"}.items()]
    try:
        cluster.start("munged", "--foreground", "--force", *files)
        until((folder / "munge.socket").exists, seconds=10)
        cluster.start("slurmctld", "-D", "-c")
        for node in NODES:
            cluster.start("slurmd", "-D", "-c", "-N", node)
        until(lambda: cluster.run("sinfo", "--noheader", "--format=%D %T") == "2 idle\n", seconds=20)
        yield cluster
        cluster.run("scancel", "--user=root")
        until(lambda: not cluster.run("squeue", "--noheader"))
    finally:
        for daemon in reversed(cluster.daemons):
            daemon.terminate()
            daemon.wait(timeout=20)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_sweep_that_is_queued_again_in_the_middle_of_a_trial_comes_to_its_end(slurm, tmp_path):
    directory, config = tmp_path / "sweep", config_file(tmp_path, tiny("grid", trials=3, epochs=60))
    before = _ray_folders()
    setup = f"export PATH={pathlib.Path(sys.executable).parent}:$PATH"
    launcher = [
        sys.executable,
        "-m",
        "gnexp.launch.slurm",
        f"--config={config}",
        f"--workdir={directory}",
        f"--setup={setup}",
    ]
    size = ["--nodes=2", "--cpus_per_node=2", "--time=10"]
    said = slurm.run(*launcher, *size, "--submit", cwd=tmp_path)
    number = int(re.match(r"Submitted batch job (\d+)\nTo watch it: tail -F slurm-\1.out\n$", said)[1])
    log = tmp_path / f"slurm-{number}.out"
    folders = [files.execution_folder(files.trial_folder(directory, trial), 0) for trial in ("0000", "0001", "0002")]

    until(lambda: (folders[1] / files.CHECKPOINT).exists() or slurm.job(number)["JobState"] == "FAILED")
    assert (folders[1] / files.CHECKPOINT).exists(), log.read_text()
    commands = slurm.processes()
    assert any("-m gnexp.train " in command for command in commands)
    nodes = [command for command in commands if "/ray start " in command]
    assert len([command for command in nodes if "--head" in command]) == 1 and len(nodes) == 2
    slurm.run("scontrol", "requeue", str(number))
    # Slurm holds the job back for two minutes.
    until(lambda: slurm.job(number)["Reason"] == "BeginTime", seconds=60)
    kept = (folders[0] / files.RESULT).stat().st_mtime_ns
    assert (folders[1] / files.CHECKPOINT).exists() and not result.finished(folders[1])
    slurm.run("scontrol", "update", f"jobid={number}", "StartTime=now")
    until(lambda: slurm.job(number)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED"))

    job = slurm.job(number)
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", "1"), log.read_text()
    assert [(outcome.status, outcome.message) for outcome in read_trials(directory)] == [("completed", None)] * 3
    assert (folders[0] / files.RESULT).stat().st_mtime_ns == kept
    assert [len(files.read_json(folder / files.PROVENANCE)) for folder in folders] == [1, 2, 1]
    assert log.read_text().count(f"workdir: {directory}\n") == 3  # at each start, and in the end
    assert not slurm.processes()
    assert _ray_folders() <= before
