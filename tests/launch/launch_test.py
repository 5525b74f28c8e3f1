"""The launchers: what they print, what they refuse, and that a command reaches its shell as it was typed."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import kubernetes_validate
import pytest
import yaml

from gnexp.config.stored import record
from gnexp.launch import kuberay, slurm
from gnexp.terminal import config_reader
from gnexp.workdir import code, folder

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
KUBERNETES = "1.34"
SWEEP, TRAINING = "--config=configs/fmnist_sweep.py", "--config=configs/fmnist.py"
SLURM = ["slurm", "--workdir=runs/gn", "--cpus_per_node=8", "--setup=. .venv/bin/activate"]
KUBERAY = ["kuberay", "--workdir=/shared/runs/gn", "--image=example.com/gnexp:1", "--claim=experiments"]
EXAMPLES = {
    "slurm_sweep.sh": [
        *SLURM,
        SWEEP,
        "--config.sweep.parallel=16",
        "--config.sweep.resources.gpus=0.5",
        "--nodes=4",
        "--gpus_per_node=2",
        "--time=1-00",
    ],
    "slurm_training.sh": [*SLURM, TRAINING, "--config.model.groups=4", "--partition=short"],
    "kuberay_sweep.yaml": [
        *KUBERAY,
        SWEEP,
        "--config.sweep.parallel=8",
        "--config.sweep.resources.gpus=1",
        "--max_workers=8",
        "--gpus=1",
    ],
    "kuberay_training.yaml": [*KUBERAY, TRAINING, "--config.model.groups=4", "--memory=4Gi", "--namespace=lab"],
}
SMOOTHED = ["--config.task.loss=mymod:l", "--config.task.label_smoothing=0.1"]


def odd(folder: pathlib.Path) -> list[str]:
    """Returns flags that a shell would interpret; the one with a path names a folder that it makes."""
    data = folder / 'it\'s $HOME (x); `y` \\ "z" *'
    data.mkdir()
    return [f"--config.data.directory={data}", "--config.model.args.filters=(32,64)"]


def launch(name, *arguments, **environment):
    """Runs a launcher in the repository's root, in an environment that belongs to no training."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("KERAS_BACKEND", "GNEXP_DATA_DIR")}
    return subprocess.run(
        [sys.executable, "-m", f"gnexp.launch.{name}", *arguments],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_prints_what_it_would_submit(name, unheavy):
    done = launch(*EXAMPLES[name], PYTHONPATH=unheavy)
    assert (done.returncode, done.stderr) == (0, "")
    command = shlex.join(["python", "-m", f"gnexp.launch.{EXAMPLES[name][0]}", *EXAMPLES[name][1:]])
    assert done.stdout == (GOLDEN / name).read_text(), (
        f"where that is meant: env -u KERAS_BACKEND -u GNEXP_DATA_DIR {command} > tests/golden/{name}"
    )


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".sh")])
def test_a_script_is_good_bash(name):
    subprocess.run(["bash", "-n", GOLDEN / name], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=warning", GOLDEN / name], check=True)


def test_pods_are_what_kubernetes_takes():
    cluster = yaml.safe_load((GOLDEN / "kuberay_sweep.yaml").read_text())["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    assert [
        group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for group in groups
    ] == [
        None,
        "1",
    ]
    job = yaml.safe_load((GOLDEN / "kuberay_training.yaml").read_text())
    kubernetes_validate.validate(job, KUBERNETES, strict=True)


def expand(text: str) -> str:
    """Does what Kubernetes does with `command`, where no variable is known: the reference of third_party/expansion."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "EXPANDED", text)


def test_a_pod_gets_the_command_as_it_was_typed():
    arguments = ["--workdir=/shared/$(KERAS_BACKEND)", "--config.data.directory=/shared/$$(A)/$B$$/$"]
    done = launch("kuberay", TRAINING, *KUBERAY[2:], *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    command = yaml.safe_load(done.stdout)["spec"]["template"]["spec"]["containers"][0]["command"]
    assert sorted(map(expand, command[4:])) == sorted(arguments)


def test_ray_is_the_locked_one():
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements-test.lock").read_text(), re.MULTILINE)
    assert locked[1] == kuberay.RAY_VERSION


@pytest.mark.parametrize("arguments", [["slurm", SWEEP, "--cpus_per_node=8"], [*KUBERAY, SWEEP, "--claim=My_Claim"]])
def test_a_mistake_is_said_before_anything_heavy(unheavy, arguments):
    done = launch(*arguments, PYTHONPATH=unheavy)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["slurm", SWEEP, "--cpus_per_node=8"], ["--workdir is missing", "the whole cluster shares"]),
        (["slurm", SWEEP, "--workdir=/tmp/x"], ["--cpus_per_node is missing", "1 or more"]),
        (["slurm", "--workdir=/tmp/x", "--cpus_per_node=8"], ["--config is missing"]),
        ([*SLURM, SWEEP, "--nodes=0"], ["--nodes=0", "1 or more"]),
        ([*SLURM, SWEEP, "--nodes=two"], ["--nodes=two", "1 or more"]),
        ([*SLURM, SWEEP, "--nodes=\u0663"], ["--nodes=\u0663", "1 or more"]),
        ([*SLURM, SWEEP, "--time=\u0661-\u0661\u0662"], ["--time=", "DAYS-HOURS"]),
        ([*SLURM, SWEEP, "--gpus_per_node=-1"], ["--gpus_per_node=-1", "0 or more"]),
        ([*SLURM, SWEEP, "--time=tomorrow"], ["--time=tomorrow", "DAYS-HOURS"]),
        ([*SLURM, SWEEP, "--partition=a b"], ["--partition=a b", "a partition, such as gpu"]),
        ([*SLURM, SWEEP, "--workdir=a\nb"], ["--workdir=a; b"]),
        ([*SLURM, SWEEP, "--workdir=a\udcff"], ["--workdir='a\\udcff'", "UTF-8"]),
        ([*KUBERAY, SWEEP, "--workdir=/shared/a\udcff"], ["--workdir='/shared/a\\udcff'", "UTF-8"]),
        ([*SLURM, SWEEP, "--noeds=2"], ["noeds", "nodes"]),
        ([*SLURM, SWEEP, "x"], ["'x' is not a flag"]),
        ([*SLURM, SWEEP, "--config.model.gruops=4"], ["config.model.gruops", "did you mean 'model.groups'"]),
        ([*SLURM, SWEEP, "--config.sweep.executor=serial"], ["config.sweep.executor=serial", "a launcher chooses it"]),
        ([*SLURM, SWEEP, "--config.sweep.resources.cpus=9"], ["config.sweep.resources.cpus=9", "--cpus_per_node=8"]),
        ([*SLURM, SWEEP, "--time=9:59"], ["--time=9:59", "10 minutes or more"]),
        ([*SLURM, SWEEP, "--time=0:09:00"], ["--time=0:09:00", "10 minutes or more"]),
        ([*SLURM, SWEEP, "--gpus_per_node=2"], ["--gpus_per_node=2", "--config.sweep.resources.gpus=1, or 0.5"]),
        ([*SLURM, SWEEP, "--config.sweep.resources.gpus=0.5"], ["resources.gpus=0.5", "--gpus_per_node=0"]),
        ([*SLURM, TRAINING, "--nodes=2"], ["--nodes=2", "the config has no sweep"]),
        (["slurm", SWEEP, "--cpus_per_node=8", "--workdir=gnexp"], ["--workdir=gnexp", "other files"]),
        ([*SLURM, TRAINING, *SMOOTHED], ["config.task.label_smoothing=0.1", "config.task.loss"]),
        (
            [*SLURM, TRAINING, "--config.data.directory=/nonexist"],
            ["config.data.directory='/nonexist' is not allowed: there is no such folder"],
        ),
        (["kuberay", SWEEP, "--claim=x", "--workdir=/shared/x"], ["--image is missing"]),
        (["kuberay", SWEEP, "--image=x", "--workdir=/shared/x"], ["--claim is missing"]),
        ([*KUBERAY, SWEEP, "--claim=My_Claim"], ["--claim=My_Claim", "a persistent volume claim"]),
        ([*KUBERAY, SWEEP, "--memory=8GB"], ["--memory=8GB", "8Gi"]),
        ([*KUBERAY, SWEEP, "--workdir=/home/x"], ["--workdir=/home/x", "/shared"]),
        ([*KUBERAY, SWEEP, "--workdir=/shared"], ["--workdir=/shared", "below /shared"]),
        ([*KUBERAY, SWEEP, "--workdir=/shared/../x"], ["--workdir=/shared/../x", "/shared"]),
        ([*KUBERAY, SWEEP, "--config.sweep.resources.cpus=5"], ["config.sweep.resources.cpus=5", "--cpus=4"]),
        ([*KUBERAY, TRAINING, "--max_workers=2"], ["--max_workers=2", "the config has no sweep"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run_here, monkeypatch, arguments, says):
    for name in ("KERAS_BACKEND", "GNEXP_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    name, *arguments = arguments
    done = run_here({"slurm": slurm, "kuberay": kuberay}[name].main, f"gnexp.launch.{name}", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for words in says:
        assert words in done.stderr


_OWN = """
from configs import smoke

def get_config():
    config = smoke.get_config()
    config.model.name = "network_of_own:build"
    return config
"""


def test_slurms_launcher_checks_that_the_code_is_that_with_which_the_workdir_began(run_here, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "network_of_own.py").write_text("def build(inputs, outputs, norm): ...\n")
    (tmp_path / "mine.py").write_text(_OWN)
    config, _ = config_reader.read(str(tmp_path / "mine.py"), {})
    with folder.opened(tmp_path / "run", record(config, "digits")) as opened:
        code.keep(tmp_path / "run", code.of(opened), [])
    arguments = ["--config=mine.py", f"--workdir={tmp_path / 'run'}", "--cpus_per_node=8"]

    def launched(*more):
        return run_here(slurm.main, "gnexp.launch.slurm", *arguments, *more, cwd=tmp_path)

    done = launched()
    assert done.returncode == 0 and "--allow_changed_code" not in done.stdout
    (tmp_path / "network_of_own.py").write_text("def build(inputs, outputs, norm): return None\n")
    done = launched()
    assert (done.returncode, done.stdout) == (2, "")
    assert "network_of_own.py has changed" in done.stderr
    done = launched("--allow_changed_code")
    assert done.returncode == 0 and "\n  --allow_changed_code\n" in done.stdout


def program(folder, name, text):
    """Writes a program for bash into a folder."""
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


def in_front(folder):
    """Returns a PATH on which the programs of a folder come first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_submitted_is_what_is_printed(tmp_path):
    program(tmp_path, "sbatch", f"cat > '{tmp_path}/read'; echo 'Submitted batch job 42'")
    done = launch(*EXAMPLES["slurm_sweep.sh"], "--submit", PATH=in_front(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Submitted batch job 42\nTo watch it: tail -F slurm-42.out\n"
    assert (tmp_path / "read").read_bytes() == (GOLDEN / "slurm_sweep.sh").read_bytes()

    program(
        tmp_path,
        "kubectl",
        f"cat > '{tmp_path}/read'; [[ $* == 'create -f -' ]] && echo 'job.batch/gnexp-gn-x created'",
    )
    done = launch(*EXAMPLES["kuberay_training.yaml"], "--submit", PATH=in_front(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "To watch it: kubectl get job.batch/gnexp-gn-x --watch --namespace=lab" in done.stdout
    assert (tmp_path / "read").read_bytes() == (GOLDEN / "kuberay_training.yaml").read_bytes()


def test_what_may_be_a_mistake_is_noted_beside_the_job():
    done = launch(*SLURM, SWEEP, "--nodes=4")
    assert done.returncode == 0 and done.stdout.startswith("#!/usr/bin/env bash\n")
    assert done.stderr == ("gnexp: note: config.sweep.parallel is 1, and there is room for 32 trials at a time\n")
    done = launch(*EXAMPLES["kuberay_sweep.yaml"], GNEXP_DATA_DIR="/data")
    assert done.returncode == 0 and done.stderr.startswith("gnexp: note: GNEXP_DATA_DIR is not passed on to the pods;")


def test_what_the_pods_may_lack_is_noted(run_here, monkeypatch):
    monkeypatch.delenv("GNEXP_DATA_DIR", raising=False)
    config = f"--config={ROOT}/configs/fmnist.py"
    done = run_here(kuberay.main, "gnexp.launch.kuberay", *KUBERAY[1:], config, "--config.data.directory=/data")
    lacks = "is not below /shared: the pods have it only if the image does"
    notes = [f"{config} {lacks}", f"config.data.directory=/data {lacks}"]
    assert done.returncode == 0 and done.stderr.splitlines() == [f"gnexp: note: {note}" for note in notes]
    done = run_here(
        kuberay.main, "gnexp.launch.kuberay", *KUBERAY[1:], TRAINING, "--config.data.directory=/shared/data"
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = run_here(kuberay.main, "gnexp.launch.kuberay", *KUBERAY[1:], TRAINING, *SMOOTHED)
    assert done.returncode == 0 and done.stderr.endswith("the job is refused unless its workdir began with it\n")


def test_a_refusal_is_one_line(tmp_path):
    done = launch(*EXAMPLES["slurm_sweep.sh"], "--submit", PATH=str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--submit needs sbatch" in done.stderr
    program(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition' >&2; echo 'sbatch: failed' >&2; exit 1")
    done = launch(*EXAMPLES["slurm_sweep.sh"], "--submit", PATH=in_front(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "gnexp: sbatch refused the job: sbatch: error: invalid partition; sbatch: failed\n"


@pytest.fixture
def job(tmp_path):
    """Starts a job's script with programs for Slurm and Python that only record what they are asked."""
    program(tmp_path, "srun", "sleep 60")
    program(tmp_path, "scancel", "exit 1")
    program(tmp_path, "scontrol", f"echo \"$@\" > '{tmp_path}/asked'")

    def start(python, *arguments, **options):
        program(tmp_path, "python", f"[[ $1 == - ]] && exec sleep 0.2\n{python}")
        script = launch("slurm", "--cpus_per_node=8", "--setup=", *arguments)
        assert script.returncode == 0, script.stderr
        slurm = {"SLURM_JOB_ID": "42", "SLURM_NNODES": "1", "SLURM_CPUS_PER_TASK": "8"}
        environment = {**os.environ, **slurm, "PATH": in_front(tmp_path)}
        options |= {"env": environment, "cwd": tmp_path, "text": True}
        process = subprocess.Popen(["bash", "-s"], stdin=subprocess.PIPE, **options)
        process.stdin.write(script.stdout)
        process.stdin.close()
        return process

    return start


@pytest.mark.parametrize("config", [SWEEP, TRAINING])
def test_a_command_reaches_the_shell_as_it_was_typed(job, tmp_path, config):
    flags = [config, *odd(tmp_path), f"--workdir={tmp_path}/a  b"]
    process = job(f"printf '%s\\0' \"$@\" > '{tmp_path}/arguments'; exit 7", *flags)
    assert process.wait(timeout=20) == 7
    *arguments, end = (tmp_path / "arguments").read_text().split("\0")
    assert end == "" and arguments[: 2 + len(flags)] == ["-m", "gnexp.train", *flags]
    rest = arguments[2 + len(flags) :]
    assert re.fullmatch(
        r"--config\.sweep\.executor=ray --ray_address=\S+:20084" if config == SWEEP else "", " ".join(rest)
    )


def test_where_ray_does_not_start_a_job_fails(job, tmp_path):
    (tmp_path / "srun").write_text("#!/usr/bin/env bash\nexit 1")
    process = job("touch begun", SWEEP, f"--workdir={tmp_path / 'run'}", stderr=subprocess.PIPE)
    assert process.wait(timeout=20) == 1
    assert process.stderr.read() == "gnexp: the Ray cluster did not start; see the output of its nodes above\n"
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("config", [SWEEP, TRAINING])
def test_a_manifest_keeps_a_command_as_it_was_typed(tmp_path, config):
    flags = [config, *odd(tmp_path), "--workdir=/shared/a: #'b"]
    done = launch("kuberay", "--image=x", "--claim=x", *flags)
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)["spec"]
    if config == SWEEP:
        command = shlex.split(spec["entrypoint"])
        assert command[3 + len(flags) :] == ["--config.sweep.executor=ray", "--ray_address=auto"]
    else:
        command = [expand(argument) for argument in spec["template"]["spec"]["containers"][0]["command"]]
    assert command[: 3 + len(flags)] == ["python", "-m", "gnexp.train", *flags]


def test_a_value_after_a_space_and_a_bare_boolean_are_the_trainers_too():
    done = launch(
        "slurm", "--cpus_per_node", "8", "--config", "configs/fmnist.py", "--config.native", "--workdir", "runs/x"
    )
    assert done.returncode == 0, done.stderr
    assert "\n  --config=configs/fmnist.py\n  --config.native\n  --workdir=runs/x\n)" in done.stdout


@pytest.mark.parametrize(
    ("signum", "ends_with", "queued_again"),
    [(signal.SIGUSR1, 143, True), (signal.SIGTERM, 143, False), (signal.SIGUSR1, 0, False)],
)
@pytest.mark.parametrize("config", [SWEEP, TRAINING])
def test_before_its_time_is_up_a_job_saves_and_is_queued_again(job, tmp_path, config, signum, ends_with, queued_again):
    trainer = (
        f"trap 'touch {tmp_path}/saved; exit {ends_with}' TERM; touch {tmp_path}/begun; while :; do sleep 0.1; done"
    )
    process = job(trainer, config, f"--workdir={tmp_path / 'run'}")
    deadline = time.monotonic() + 20
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signum)
    assert process.wait(timeout=20) == ends_with
    assert (tmp_path / "saved").exists()
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 42\n" if queued_again else "")
