"""The real command line: mistakes, signals, kills, a second process, a full disk, a dataset that is not available."""

import collections
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from gnexp.workdir import checkpoint, files

# Nothing listens there, so connections are refused at once: no network, on any machine.
_NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}

# All batches have one size; otherwise a training would compile its step twice.
_TINY = (
    "--config.epochs=1",
    "--config.data.train_size=96",
    "--config.model.args.filters=4",
    "--config.model.args.units=8",
)

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def _figures(directory: pathlib.Path) -> dict:
    values = files.read_json(directory / "result.json")
    for figures in [values, *values["history"]]:
        del figures["seconds"]
    return values


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config.model.gruops=4"], ["config.model.gruops", "did you mean 'model.groups'"]),
        (["--config.model.groups=four"], ["config.model.groups=four", "a whole number of 1 or more, or -1"]),
        (["--config.model.groups=3"], ["config.model.groups=3", "(8, 16)", "1, 2, 4, 8"]),
        (["--config.model.epsilon=0"], ["config.model.epsilon=0", "above 0"]),
        (["--config.model.epsilon=nan"], ["config.model.epsilon=nan", "above 0"]),
        (["--config.data.batch_size=0"], ["config.data.batch_size=0", "1 or more"]),
        (["--config.data.batch_size=1.5"], ["config.data.batch_size=1.5", "1 or more"]),
        (["--config.model.norm=bach"], ["config.model.norm='bach'", "'batch'"]),
        (["--config.optimizer.name=adma"], ["config.optimizer.name='adma'", "'adam'"]),
        (["--config.data.name=imagenet"], ["config.data.name='imagenet'", "'fashion_mnist'"]),
        (["--config.data.validation=2.5"], ["config.data.validation=2.5", "'test'"]),
        (["--config.deterministic=perhaps"], ["config.deterministic", "true or false"]),
        (["--config.model=3"], ["config.model is a section"]),
        (
            ["--config.model.filters=(8,8)", "--config.model.filters=(16,16)"],
            ["config.model.args.filters is given twice"],
        ),
        (["--config.data.validation=2000"], ["config.data.validation=2000", "1437"]),
        (["--config=configs/fmnist.py"], ["--config is given twice"]),
        (["--flagfile=x"], ["--flagfile=x"]),
        (["--workdir="], ["--workdir=. is not allowed"]),
        (["--workdir", "--config.seed=1"], ["--workdir=--config.seed=1 is not allowed"]),
        ([f"--workdir={'x' * 300}"], ["File name too long"]),
        (["--wrokdir=x"], ["wrokdir", "workdir"]),
        (["groups=4"], ["'groups=4' is not a flag"]),
        (["--workdir=/dev/null/x"], ["--workdir=/dev/null/x", "/dev/null is not a folder"]),
        (["--workdir=/proc/x"], ["/proc/x"]),
        (["--workdir=gnexp"], ["--workdir=gnexp", "other files"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_before_anything_heavy(gnexp_train, unheavy, tmp_path, arguments, says):
    if not any("workdir" in argument for argument in arguments):
        arguments = [*arguments, f"--workdir={tmp_path / 'new'}"]
    done = gnexp_train(*arguments, PYTHONPATH=unheavy)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for words in says:
        assert words in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config(:", "SyntaxError"),
        ("import nowhere", "nowhere"),
        ("def get_config():\n    return 1 / 0", "ZeroDivisionError"),
        ("def get_config():\n    raise ValueError('its own words')", "its own words"),
        ("def get_config():\n    return {}", "get_config() returned {}"),
        ("x = 1", "get_config"),
        ("raise SystemExit('needs FOO')", "needs FOO"),
    ],
)
def test_a_config_file_that_fails_is_one_line(gnexp_train, unheavy, tmp_path, text, says):
    (tmp_path / "broken.py").write_text(text)
    done = gnexp_train(config=str(tmp_path / "broken.py"), PYTHONPATH=unheavy)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr


@pytest.mark.any_backend
def test_a_config_file_that_is_not_there_is_named(gnexp_train, unheavy):
    done = gnexp_train(config="configs/none.py", PYTHONPATH=unheavy)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--config=configs/none.py" in done.stderr


@pytest.mark.any_backend
def test_another_backend_is_refused(gnexp_train, unheavy):
    done = gnexp_train(KERAS_BACKEND="torch", PYTHONPATH=unheavy)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "KERAS_BACKEND=torch" in done.stderr


@pytest.mark.any_backend
def test_without_a_config_it_says_what_is_missing(unheavy):
    command = [sys.executable, "-m", "gnexp.train"]
    environment = {**os.environ, "PYTHONPATH": unheavy}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--config" in done.stderr


@pytest.fixture(scope="module")
def unbroken(gnexp_train, without_tensorflow, tmp_path_factory):
    """A training of two epochs that nothing disturbed: its arguments, its folder and its process.

    On JAX, it may not import TensorFlow.
    """
    if on_jax := os.environ.get("KERAS_BACKEND") == "jax":
        size = ["data.batch_size=32", "data.train_size=64"]
    else:
        size = ["data.batch_size=2", "data.train_size=1000"]  # Small batches, so that there is time to stop it.
    size += ["epochs=2", "model.args.filters=4", "model.args.units=8"]
    arguments = [f"--config.{value}" for value in size]
    directory = tmp_path_factory.mktemp("unbroken") / "run"
    environment = {"PYTHONPATH": without_tensorflow} if on_jax else {}
    return arguments, directory, gnexp_train(*arguments, f"--workdir={directory}", **environment)


def test_a_training_says_what_it_did_and_nothing_else(unbroken):
    _, directory, done = unbroken
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"workdir: {directory}"
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    outcome = json.loads((directory / "result.json").read_text())
    assert f"accuracy {outcome['test_accuracy']:.4f}" in done.stdout
    assert f"tensorboard --logdir={directory.parent}" in done.stdout


def test_finished_it_says_so(unbroken, gnexp_train, unheavy):
    arguments, directory, _ = unbroken
    before = _figures(directory)
    again = gnexp_train(*arguments, f"--workdir={directory}", PYTHONPATH=unheavy)
    assert again.returncode == 0
    assert "finished already" in again.stdout
    assert _figures(directory) == before


def test_another_config_in_its_folder_is_refused(unbroken, gnexp_train, unheavy):
    arguments, directory, _ = unbroken
    other = gnexp_train(*arguments, "--config.model.groups=2", f"--workdir={directory}", PYTHONPATH=unheavy)
    assert other.returncode == 2
    assert "config.model.groups is 4 there and 2 here" in other.stderr


def _read_until(process: subprocess.Popen, text: str) -> None:
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"ended without {text!r}: {process.stderr.read()}")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "ends",
    [
        {"epoch 1/2": signal.SIGTERM},
        pytest.param({"epoch 1/2": signal.SIGKILL, "resuming after epoch 1": signal.SIGINT}, marks=pytest.mark.slow),
    ],
)
def test_killed_or_stopped_on_the_way_it_ends_with_the_same_figures(unbroken, gnexp_train, train_here, tmp_path, ends):
    arguments, reference, _ = unbroken
    arguments = [*arguments, f"--workdir={tmp_path / 'run'}"]
    statuses = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
    for text, number in ends.items():
        process = gnexp_train.start(*arguments)
        _read_until(process, text)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == statuses[number], stderr
        if number != signal.SIGKILL:
            assert re.search(
                r"^gnexp: stopped by SIG\w+ after (epoch 1|step \d+ of epoch 2); everything is saved", stderr
            )
            assert f"--workdir={tmp_path / 'run'}" in stderr
    last = train_here(*arguments)
    assert last.returncode == 0, last.stderr
    assert _figures(tmp_path / "run") == _figures(reference)
    assert len(json.loads((tmp_path / "run" / "provenance.json").read_text())) == len(ends) + 1


@pytest.mark.any_backend
def test_divergence_is_one_line_and_a_failure(train_here, tmp_path):
    arguments = [
        "--config.optimizer.name=sgd",
        "--config.optimizer.learning_rate=1e30",
        *_TINY,
        f"--workdir={tmp_path / 'run'}",
    ]
    done = train_here(*arguments)
    assert done.returncode == 1
    assert re.fullmatch(r"gnexp: the loss is (nan|inf) at step \d+ of epoch 1\n", done.stderr)


@pytest.mark.any_backend
def test_a_missing_dataset_falls_back_loudly_and_on_record_in_a_fresh_folder(train_here, monkeypatch, tmp_path):
    for name, value in {"GNEXP_DATA_DIR": "", "KERAS_HOME": str(tmp_path), **_NO_NETWORK}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(urllib.request, "_opener", None)  # It keeps the proxy that it first sees.
    ask = ["--config.data.name=fashion_mnist", *_TINY]
    done = train_here(*ask, config=str(CONFIGS / "smoke.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("THIS TRAINING USES digits, NOT fashion_mnist") == 2
    (directory,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-digits-group4-amsgrad-bs16", directory.name)
    assert f"workdir: runs/{directory.name}" in done.stdout
    assert json.loads((directory / "config.json").read_text())["data"]["name"] == "digits"
    assert json.loads((directory / "result.json").read_text())["dataset"] == "digits"

    strict = train_here("--config.data.fallback=", *ask, f"--workdir={tmp_path / 'strict'}")
    assert strict.returncode == 2
    assert "train-images-idx3-ubyte.gz" in strict.stderr
    assert "$GNEXP_DATA_DIR" in strict.stderr
    assert not (tmp_path / "strict").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB, and a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs to mount a small tmpfs, which only root may: {error}")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.any_backend
def test_a_full_disk_is_named_and_what_was_saved_stays_good(train_here, small_disk):
    folder, enlarge = small_disk
    directory = folder / "run"
    done = train_here("--config.epochs=1", f"--workdir={directory}")
    assert done.returncode == 2
    assert re.fullmatch(r"gnexp: the disk is full: .*\n", done.stderr), done.stderr
    saved = checkpoint.load(directory / files.CHECKPOINT)
    assert saved.progress["history"] == []
    assert all(np.isfinite(array).all() for array in saved.arrays.values())
    enlarge()
    done = train_here("--config.epochs=1", f"--workdir={directory}")
    assert done.returncode == 0, done.stderr
    assert json.loads((directory / "result.json").read_text())["status"] == "success"


def _events(directory) -> collections.Counter:
    """Counts (run, tag, step) over all event files."""
    return collections.Counter(
        (str(path.parent.relative_to(directory)), value.tag, event.step)
        for path in directory.rglob("events.out.tfevents.*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    )


@pytest.mark.slow
def test_killed_at_random_instants_it_loses_nothing_and_repeats_nothing(gnexp_train, tmp_path):
    arguments = ["--config.epochs=12", "--config.data.batch_size=4"]
    reference = gnexp_train(*arguments, f"--workdir={tmp_path / 'reference'}")
    assert reference.returncode == 0, reference.stderr

    instants, killed, directory = random.Random(0), 0, tmp_path / "killed"
    while killed < 20:
        process = gnexp_train.start(*arguments, f"--workdir={directory}")
        try:
            # Early kills hit the start-up and the first checkpoint, late ones the epochs and the end.
            _, stderr = process.communicate(timeout=instants.uniform(0.3, 14))
            assert process.returncode == 0, stderr
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            for path in directory.rglob("*.json"):
                json.loads(path.read_text())  # never torn
            continue
        assert _figures(directory) == _figures(tmp_path / "reference")
        assert _events(directory) == _events(tmp_path / "reference")
        directory = tmp_path / f"killed-{killed}"
    last = gnexp_train(*arguments, f"--workdir={directory}")
    assert last.returncode == 0, last.stderr
    assert _figures(directory) == _figures(tmp_path / "reference")
    assert _events(directory) == _events(tmp_path / "reference")
