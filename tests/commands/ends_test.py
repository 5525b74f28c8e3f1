"""How a command ends: signals outside of the steps of a training, limits of the shell, a disk that is read-only."""

import errno
import json
import os
import pathlib
import resource
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from configs import smoke
from gnexp import train
from gnexp.config.stored import record
from gnexp.data.load import load
from gnexp.terminal import limits, signals
from gnexp.training import run
from gnexp.workdir import files, folder
from tests.support.pictures import not_drawn

pytestmark = pytest.mark.any_backend
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """The workdir of a training of one epoch that has ended."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    config = smoke.get_config()
    config.epochs = 1
    with folder.opened(directory, record(config, "digits")) as opened, not_drawn():
        run.train(opened, load(opened.data), directory)
    return directory


def signalled(signum: int, then: BaseException | None = None, before=lambda *_: None):
    """Returns a function that sends this process a signal, in the place of another one."""

    def instead(*arguments, **_):
        before(*arguments)
        try:
            os.kill(os.getpid(), signum)
        except BaseException:
            if then is None:
                raise
            raise then from None

    return instead


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_has_begun(train_here, monkeypatch, tmp_path, signum):
    monkeypatch.setattr(train, "load", signalled(signum))
    done = train_here(f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 128 + signum
    # Whoever imports TensorFlow in this process may be the first test, and have its noise here.
    assert done.stderr.splitlines()[-1].startswith(f"gnexp: stopped by {signum.name}. To run it again: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("then", [None, ImportError("of a library, which\nsays more"), SystemExit("odd")])
def test_a_signal_while_a_library_is_imported_whatever_that_makes_of_it(train_here, monkeypatch, tmp_path, then):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "train", signalled(signal.SIGTERM, then))
    done = train_here(cwd=tmp_path, config=f"{ROOT}/configs/smoke.py")
    assert done.returncode == 143
    assert done.stderr.startswith("gnexp: stopped by SIGTERM between two saves; everything is saved. To resume: ")
    assert done.stderr.count("\n") == 1
    assert f"--workdir=runs/{next((tmp_path / 'runs').iterdir()).name}\n" in done.stderr, "it had no --workdir"


def test_a_signal_that_is_lost_in_a_destructor_stops_the_training(train_here, monkeypatch, tmp_path):
    def lost(*arguments):
        class Odd:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)

        Odd()
        return provenance(*arguments)

    provenance = run._append_provenance
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    monkeypatch.setattr(run, "_append_provenance", lost)
    done = train_here("--config.epochs=1", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 143
    assert done.stderr.startswith("gnexp: stopped by SIGTERM after ")
    assert done.stderr.count("\n") == 1


def test_a_signal_after_the_last_save_loses_nothing(train_here, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(folder, "remove_checkpoint", signalled(signal.SIGTERM))
        done = train_here("--config.epochs=1", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 143
    assert done.stderr.startswith("gnexp: stopped by SIGTERM between two saves; everything is saved. To resume: ")
    again = train_here("--config.epochs=1", f"--workdir={tmp_path / 'run'}")
    assert again.returncode == 0 and "finished already" in again.stdout


def test_a_signal_when_all_is_said_changes_nothing():
    script = "import atexit, os, signal\nfrom gnexp.terminal import exit\nexit.run(lambda: None)\n"
    script += "for each in (signal.SIGINT, signal.SIGTERM): os.kill(os.getpid(), each)\n"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_training_whose_stdout_is_closed_says_how_it_resumes(train_here, monkeypatch, tmp_path):
    def closed(*_):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(run, "train", closed)
    done = train_here(f"--workdir={tmp_path / 'run'}")
    assert (done.returncode, done.stderr) == (2, "gnexp: [Errno 32] Broken pipe\n"), "of something else than stdout"
    monkeypatch.setattr(signals, "stdout_is_closed", lambda: True)
    done = train_here(f"--workdir={tmp_path / 'run'}")
    said = "gnexp: stopped by SIGPIPE because stdout was closed; what was saved is intact. To resume: "
    assert (done.returncode, done.stderr.count("\n")) == (128 + signal.SIGPIPE, 1)
    assert done.stderr.startswith(said)


def test_a_command_whose_stdout_is_closed_ends_in_one_line(tmp_path):
    script = "import sys\nfrom gnexp.terminal import exit\n"
    script += "sys.stdin.read()\nexit.run(lambda: [print('a line') for _ in range(10**5)])\n"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, text=True, **pipes)
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == "gnexp: stdout was closed before all was said\n"
    process.stderr.close()
    assert process.wait() == 2


_REDIRECTED = """
import os, pathlib, sys
from gnexp.terminal import exit
from gnexp.terminal.stderr import everything, native_stderr

def main():
    for redirected in (native_stderr, everything):
        with redirected(pathlib.Path(sys.argv[1])):
            os.write(2, b"of C++;")
            os.system("printf 'of a child;' >&2")
        for stream in (sys.stdout, sys.stderr):
            print("a line", file=stream, flush=True)

exit.run(main)
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_process_without_its_streams_works_like_another(tmp_path, closed):
    (tmp_path / "script.py").write_text(_REDIRECTED)
    command = f"{shlex.quote(sys.executable)} {tmp_path}/script.py {tmp_path}/log {closed}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "" if "2>&-" in closed else "a line\na line\n")
    assert done.stdout == ("" if ">&-" in closed.split() else "a line\na line\n")
    assert (tmp_path / "log").read_text() == "of C++;of a child;" * 2


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_limit_on_addresses_is_named(monkeypatch, train_here, tmp_path, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (2_000_000 * 1024, resource.RLIM_INFINITY))
    done = train_here(f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"gnexp: the limit `ulimit -v 2000000` is not allowed: {backend} needs ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_limit_on_files_is_said_with_the_file(tmp_path):
    path = tmp_path / "state.npz"
    script = f"""
import pathlib, resource
from gnexp.terminal import exit
from gnexp.workdir import files
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
exit.run(lambda: files.write_json(pathlib.Path({str(path)!r}), ["x" * 200]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"gnexp: {path}: File too large\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workdir=~nosuchuser/x"], "--workdir=~nosuchuser/x is not allowed: ~nosuchuser is no user's home"),
        (["--config.data.directory=~nosuchuser/x"], "config.data.directory=~nosuchuser/x is not allowed"),
        (["--config.data.directory=/nonexistent"], "config.data.directory='/nonexistent' is not allowed"),
        (["--config.data.batch_size=1000000000"], "config.data.batch_size=1000000000 is not allowed: there are 1293 i"),
        (["--config.epochs=\u0663"], "--config.epochs=\u0663 is not allowed: its digits must be 0 to 9"),
        (["--config.epochs", "\u0663"], "--config.epochs=\u0663 is not allowed: its digits must be 0 to 9"),
        (["--config.model.filters=(\u0668,16)"], "--config.model.args.filters=(\u0668,16) is not allowed: its digits"),
    ],
)
def test_what_could_not_be_meant_is_refused(train_here, tmp_path, arguments, says):
    done = train_here(f"--workdir={tmp_path / 'run'}", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"gnexp: {says}")
    assert not (tmp_path / "run").exists()


def test_a_batch_of_all_images_and_a_folder_with_other_digits_are_taken(tmp_path, train_here, monkeypatch):
    monkeypatch.setattr(train, "_training", lambda *_: None)
    named = tmp_path / "data\u0663"
    named.mkdir()
    done = train_here(
        f"--workdir={tmp_path / 'run'}", "--config.data.batch_size=1293", f"--config.data.directory={named}"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_space_with_a_batch_of_too_many_images_is_refused(train_here, tmp_path):
    space = "--config.sweep.space.data.batch_size.values"
    done = train_here(f"--workdir={tmp_path / 'run'}", f"{space}=16,500", config="configs/smoke_sweep.py")
    assert done.returncode == 2
    assert done.stderr == (
        "gnexp: config.sweep.space.data.batch_size=500 is not allowed: there are 400 images of digits to train on\n"
    )


def test_a_workdir_that_began_with_a_larger_batch_goes_on(finished, tmp_path, train_here, monkeypatch):
    directory = shutil.copytree(finished, tmp_path / "run")
    (directory / files.RESULT).unlink()
    config = json.loads((directory / files.CONFIG).read_text())
    for key in ("format", "checksum"):
        config.pop(key, None)
    config["data"]["batch_size"] = 5000
    (directory / files.CONFIG).write_text(json.dumps(config))
    monkeypatch.setattr(train, "_training", lambda *_: None)
    done = train_here(f"--workdir={directory}", "--config.epochs=1", "--config.data.batch_size=5000")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_training_resumes_only_with_the_backend_that_it_began_with(finished, tmp_path, train_here):
    directory = shutil.copytree(finished, tmp_path / "run")
    (process,) = files.read_json(directory / files.PROVENANCE)
    files.write_json(directory / files.PROVENANCE, [process | {"backend": "other"}])
    shown = train_here("--config.epochs=1", f"--workdir={directory}")
    assert (shown.returncode, shown.stderr) == (0, "")
    (directory / files.RESULT).unlink()
    for dry_run in ([], ["--dry_run"]):
        done = train_here("--config.epochs=1", f"--workdir={directory}", *dry_run)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"={process['backend']} is not allowed: {directory} runs on other" in done.stderr


def test_a_finished_training_is_shown_from_a_disk_that_is_read_only(finished, tmp_path, train_here):
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs to mount a tmpfs, which only root may: {error}")
    try:
        directory = shutil.copytree(finished, disk / "run")
        (directory / files.CHECKPOINT).touch()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = train_here("--config.epochs=1", f"--workdir={directory}")
        assert (done.returncode, done.stderr) == (0, "")
        assert "(finished already)" in done.stdout and "test:   accuracy" in done.stdout
        other = train_here(f"--workdir={disk / 'other'}")
        assert other.stderr == f"gnexp: --workdir={disk / 'other'} is not allowed: {disk} cannot be written to\n"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
