"""A workdir stays intact through kill -9, a full disk, two processes at once and damaged files."""

import contextlib
import datetime
import errno
import hashlib
import json
import math
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import numpy as np
import pytest

from gnexp.config import base
from gnexp.config.stored import to_json
from gnexp.errors import UserError
from gnexp.functions import sources
from gnexp.functions.sources import Code
from gnexp.terminal.stderr import native_stderr
from gnexp.workdir import code, files, folder, provenance
from gnexp.workdir.folder import opened

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def child(code: str, *arguments: object):
    """Runs Python code in its own process, which is killed with SIGKILL when the block ends."""
    setup = (
        f"import pathlib, sys; sys.path[:0] = {sys.path!r}\n"
        "from gnexp.workdir import files\n"
        "from gnexp.workdir.folder import opened\n"
        "from gnexp.workdir.provenance import provenance\n"
    )
    command = [sys.executable, "-c", setup + code, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def tree(folder: pathlib.Path) -> dict[str, tuple]:
    """Returns everything that a folder holds: kinds, modes, times and contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status, content = path.lstat(), path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


@pytest.fixture
def mounted(tmp_path):
    """Returns a function that mounts a tmpfs with the given options over a new folder."""
    folders = []

    def mount(options: str) -> pathlib.Path:
        folder = tmp_path / f"mounted-{len(folders)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs a file system of its own, and mounting one is not permitted here")
        folders.append(folder)
        return folder

    yield mount
    for mounted in folders:
        subprocess.run(["umount", str(mounted)], check=True)


# Atomic writes


def test_a_written_value_comes_back_and_nothing_else_lies_there(tmp_path):
    value = {"a": [1, 2.5, None, True], "b": {"ä": "ü\n"}, "c": 0.1 + 0.2}
    path = tmp_path / "new" / "deeper" / "result.json"
    files.write_json(path, value)
    assert files.read_json(path) == value
    assert value.items() < json.loads(path.read_bytes()).items()
    files.write_json(path, [1])
    assert files.read_json(path) == [1]
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_a_file_that_is_not_there_reads_as_none(tmp_path):
    assert files.read_json(tmp_path / "none.json") is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, number):
    path = tmp_path / "result.json"
    files.write_json(path, {"loss": 1.0})
    before = tree(tmp_path)
    with pytest.raises(ValueError):
        files.write_json(path, {"loss": number})
    assert tree(tmp_path) == before


def test_an_error_within_the_block_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "best.keras"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="saving failed"), files.atomic(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise RuntimeError("saving failed")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.keras"]


def test_writers_that_go_by_the_suffix_find_it(tmp_path):
    path = tmp_path / "checkpoints" / "state.npz"
    with files.atomic(path) as temporary:
        np.savez(temporary, x=np.arange(3))  # appends .npz to any other suffix
    with np.load(path) as file:
        assert file["x"].tolist() == [0, 1, 2]
    assert [entry.name for entry in path.parent.iterdir()] == ["state.npz"]


def test_kill_9_in_the_middle_of_a_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "result.json"
    files.write_json(path, {"epoch": 1})
    code = (
        "with files.atomic(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('{\"epoch\": ')\n"
        "    print('half written', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with child(code, path) as process:
        assert process.stdout.readline() == "half written\n"
        assert any(entry != path for entry in tmp_path.iterdir()), "the half lies in the old file, or nowhere"
    assert files.read_json(path) == {"epoch": 1}
    files.write_json(path, {"epoch": 2})
    assert files.read_json(path) == {"epoch": 2}
    files.remove_partial(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    "path", [files.RESULT, files.CHECKPOINT, files.MODEL, "oracle/oracle.json", "oracle/trial_0007/trial.json"]
)
def test_what_a_killed_writer_left_is_gone_once_its_workdir_is_opened_again(tmp_path, config, path):
    with folder.opened(tmp_path, config):
        files.write_json(tmp_path / path, {"epoch": 1})
    before = sorted(tmp_path.rglob("*"))
    code = (
        "with files.atomic(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('{\"epoch\": ')\n"
        "    print('half written', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with child(code, tmp_path / path) as process:
        assert process.stdout.readline() == "half written\n"
    assert len(list(tmp_path.rglob("*"))) == len(before) + 1
    with folder.opened(tmp_path, config):
        assert sorted(tmp_path.rglob("*")) == before
    assert files.read_json(tmp_path / path) == {"epoch": 1}


def test_writers_of_one_file_at_once_do_not_take_each_others(tmp_path):
    path = tmp_path / "result.json"
    with files.atomic(path) as first, files.atomic(path) as second:
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"  # The first ended last.
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def _whole(path):
    found = files.read_json(path)
    assert len(found["padding"]) == 300_000
    return found["number"]


def test_a_reader_sees_a_whole_file_at_every_moment_and_after_kill_9(tmp_path):
    path = tmp_path / "result.json"
    code = (
        "number = 0\n"
        "while True:\n"
        "    files.write_json(pathlib.Path(sys.argv[1]), {'number': number, 'padding': 'x' * 300_000})\n"
        "    if not number:\n"
        "        print('begun', flush=True)\n"
        "    number += 1\n"
    )
    for _ in range(3):
        with child(code, path) as process:
            assert process.stdout.readline() == "begun\n"
            numbers = []
            # A disk may take long over a write, so that a count of reads alone may see a single one.
            while len(numbers) < 100 or numbers[-1] < 5:
                assert process.poll() is None, "the writer ended by itself"
                numbers.append(_whole(path))
        numbers.append(_whole(path))
        assert numbers == sorted(numbers)


def test_a_full_disk_leaves_the_old_file_whole_and_no_half_of_the_new(mounted):
    disk = mounted("size=1m")
    path = disk / "result.json"
    files.write_json(path, {"epoch": 1})
    with pytest.raises(OSError) as caught:
        files.write_json(path, {"epoch": 2, "padding": "x" * 2**21})
    assert caught.value.errno == errno.ENOSPC
    assert files.read_json(path) == {"epoch": 1}
    assert [entry.name for entry in disk.iterdir()] == ["result.json"]
    files.write_json(path, {"epoch": 2, "padding": "x" * 2**18})
    assert files.read_json(path)["epoch"] == 2


# The copy of the user's code


def own_code(folder: pathlib.Path) -> Code:
    """Returns a network of two modules, the second of which may be missing."""
    paths = {name: folder / name for name in ("helper.py", "network.py")}
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in paths}
    return Code({"model": "network:build"}, paths, digests)


def test_a_copy_of_the_code_that_stopped_half_way_is_made_again(tmp_path, config):
    directory, source = tmp_path / "run", own_code(tmp_path)
    (tmp_path / "helper.py").write_text("helper.py")
    with pytest.raises(FileNotFoundError), opened(directory, config):
        code.keep(directory, source, [])
    assert not list(directory.rglob("*.py"))
    (directory / files.PARTIAL_CODE).mkdir()  # A kill leaves it there.
    (directory / files.PARTIAL_CODE / "left.py").touch()
    (tmp_path / "network.py").write_text("network.py")
    assert code.changes(directory, source, allowed=False) == []
    with opened(directory, config):
        code.keep(directory, source, [])
    assert {path.name for path in directory.rglob("*.py")} == {"helper.py", "network.py"}
    assert code.changes(directory, source, allowed=False) == []


def test_what_a_killed_writer_left_among_the_code_is_no_change(tmp_path):
    source = own_code(tmp_path)
    for name, path in source.files.items():
        path.write_text(name)
    code.keep(tmp_path, source, [])
    (tmp_path / files.CODE / ".helper.1-2.partial.py").touch()
    assert code.changes(tmp_path, source, allowed=False) == []


def failing(number: int, only: Callable[[int], bool] = lambda mode: True):
    """Returns a function of a file descriptor that fails where `only` holds for the file's mode."""

    def fail(file: int | TextIO, *_: int) -> None:
        if only(os.fstat(file).st_mode if isinstance(file, int) else 0):
            raise OSError(number, os.strerror(number))

    return fail


def test_a_file_system_that_cannot_sync_a_folder_is_used_and_other_errors_name_the_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    monkeypatch.setattr(files.os, "fsync", failing(errno.EINVAL, stat.S_ISDIR))
    files.write_json(path, [1])
    assert files.read_json(path) == [1]
    for only in (stat.S_ISDIR, stat.S_ISREG):
        monkeypatch.setattr(files.os, "fsync", failing(errno.EIO, only))
        with pytest.raises(OSError) as caught:
            files.write_json(path, [2])
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


# Damaged files


@pytest.mark.parametrize("content", [
    b"", b'{"seed": 0, "epochs', b"{'seed': 0}",
    b"\xff\xfe\x00",
])  # fmt: skip
def test_a_damaged_json_file_is_named(tmp_path, content):
    path = tmp_path / files.CONFIG
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["3", "[]", '"config"'])
def test_a_config_that_is_no_config_is_refused(tmp_path, content):
    (tmp_path / files.CONFIG).write_text(content)
    with pytest.raises(UserError, match=files.CONFIG):
        folder.check(tmp_path)


# Whether a training may start


def occupied(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "thesis.tex").write_text("years of work")
    return tmp_path


def a_file(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "notes.txt").write_text("")
    return tmp_path / "notes.txt"


def below_a_file(tmp_path: pathlib.Path) -> pathlib.Path:
    return a_file(tmp_path) / "runs" / "first"


def half_written(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / files.CONFIG).write_text('{"seed": ')
    return tmp_path


def dangling_link(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "latest").symlink_to(tmp_path / "gone")
    return tmp_path / "latest"


def too_long_a_name(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / ("x" * 300)


@pytest.mark.parametrize("place", [
    occupied, a_file, below_a_file, half_written,
    dangling_link,
    pytest.param(too_long_a_name),
])  # fmt: skip
def test_a_refused_workdir_is_named_and_nothing_is_written(tmp_path, place):
    directory = place(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(UserError) as caught:
        folder.check(directory)
    assert str(directory) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert tree(tmp_path) == before


def test_a_workdir_whose_name_could_not_be_printed_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"w\\udcff' is not allowed: it must be text in UTF-8"):
        folder.check(tmp_path / "w\udcff")


@pytest.mark.parametrize("below", ["", "runs/first"])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, mounted, below):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):  # as root, whom file modes do not stop
        locked = mounted("ro")
    with pytest.raises(UserError, match=f"--workdir={locked / below} .*{locked} cannot be written to"):
        folder.check(locked / below)


@pytest.mark.parametrize("place", ["new", "new/deeper", "empty"])
def test_a_free_place_is_taken_without_touching_it(tmp_path, place):
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    assert folder.check(tmp_path / place) is None
    assert tree(tmp_path) == before


def test_a_training_that_lies_there_is_given_back(tmp_path, config):
    files.write_json(tmp_path / files.CONFIG, to_json(config))
    (tmp_path / "events.out.tfevents.1").write_bytes(b"")
    before = tree(tmp_path)
    assert folder.check(tmp_path) == to_json(config)
    assert tree(tmp_path) == before


def test_a_training_killed_before_tensorflow_was_there_can_start_again(tmp_path, config):
    with opened(tmp_path, config), native_stderr(tmp_path / files.BACKEND_LOG):
        pass  # gnexp.train imports TensorFlow here, for seconds
    assert folder.check(tmp_path) == to_json(config)


# Fresh folders


def test_a_fresh_workdir_is_named_for_its_time_and_what_is_trained(tmp_path, config):
    before = datetime.datetime.now().replace(microsecond=0)
    directory = folder.fresh(tmp_path / "runs", config)
    date, time, *words = directory.name.split("-")
    assert before <= datetime.datetime.strptime(date + time, "%Y%m%d%H%M%S") <= datetime.datetime.now()
    assert words == ["fashion_mnist", "group8", "amsgrad", "bs128"]
    assert directory.parent == tmp_path / "runs"
    assert directory.is_dir()
    config.update({"model": {"norm": "instance_scalar"}, "data": {"name": "digits"}})
    assert folder.fresh(tmp_path, config).name.split("-")[2:4] == ["digits", "instance_scalar"]


def test_fresh_workdirs_made_at_once_never_collide(tmp_path, config):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: folder.fresh(tmp_path / "runs", config), range(64)))
    assert len(set(made)) == 64
    assert set((tmp_path / "runs").iterdir()) == set(made)
    assert all(folder.check(directory) is None for directory in made)


# The lock

HOLD = (
    "from configs import fmnist\n"
    "with opened(pathlib.Path(sys.argv[1]), fmnist.get_config()):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.readline()\n"
    "print('free', flush=True)\n"
    "sys.stdin.read()\n"
)


def test_a_second_process_is_refused_until_the_first_lets_go(tmp_path, config):
    directory = tmp_path / "runs" / "first"
    refused = pytest.raises(UserError, match=f"{directory} is in use by another process")
    with child(HOLD, directory) as process:
        assert process.stdout.readline() == "held\n"
        with refused, opened(directory, config):
            pass
        with opened(tmp_path / "runs" / "second", config):
            pass
        print(file=process.stdin, flush=True)
        assert process.stdout.readline() == "free\n"
        with opened(directory, config):
            pass


def test_kill_9_frees_the_lock(tmp_path, config):
    with child(HOLD, tmp_path) as process:
        assert process.stdout.readline() == "held\n"
    with opened(tmp_path, config):
        pass


def test_an_error_frees_the_lock(tmp_path, config):
    with pytest.raises(RuntimeError), opened(tmp_path / "first", config):
        raise RuntimeError
    with opened(tmp_path / "first", config):
        pass


def test_a_file_system_without_locks_is_named_and_nothing_is_left(tmp_path, monkeypatch, config):
    with opened(tmp_path / "there", config):
        pass
    monkeypatch.setattr(folder.fcntl, "flock", failing(errno.ENOSYS))
    for name in ("there", "new"):
        with (
            pytest.raises(
                UserError, match=rf"--workdir={tmp_path / name} cannot be locked \(Function not implemented\)"
            ),
            opened(tmp_path / name, config),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_opened_again_it_gives_the_config_that_lies_there_and_refuses_another(tmp_path, config):
    with opened(tmp_path, config) as first:
        pass
    before = (tmp_path / files.CONFIG).read_bytes()
    with opened(tmp_path, config) as second:
        assert second.to_dict() == first.to_dict()
    config.model.groups = 1
    with pytest.raises(UserError, match=r"config\.model\.groups is 8 there and 1 here"), opened(tmp_path, config):
        pass
    assert (tmp_path / files.CONFIG).read_bytes() == before


# The backend


def test_the_backend_is_known_before_keras_is_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert provenance.backend() == "jax"
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert provenance.backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert provenance.backend() == "jax"


@pytest.mark.parametrize("place", [".", "trials/0001/seed-0"])
def test_what_has_not_ended_resumes_only_with_its_backend(tmp_path, config, place):
    if place != ".":
        config.sweep = base.get_sweep()
    stored, path = to_json(config), tmp_path / place / files.PROVENANCE
    folder.check_backend(tmp_path, config, stored)
    process = {"started": "2026-01-01T00:00:00+00:00"}
    for former in ({}, {"backend": provenance.backend()}):
        files.write_json(path, [process | {"backend": "other"}, process | former])
        folder.check_backend(tmp_path, config, stored)
    files.write_json(path, [process, process | {"backend": "other"}])
    refused = pytest.raises(UserError, match=f"KERAS_BACKEND={provenance.backend()} is not allowed: .* runs on other")
    with refused:
        folder.check_backend(tmp_path, config, stored)
    (tmp_path / files.RESULT).write_text("{")
    with refused:
        folder.check_backend(tmp_path, config, stored)
    files.write_json(tmp_path / files.RESULT, {"status": "success"})
    folder.check_backend(tmp_path, config, stored)
    if place != ".":
        config.sweep.max_trials += 1
        with refused:
            folder.check_backend(tmp_path, config, stored)


# Where a training came from


def test_provenance_says_when_where_and_with_what():
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    with child("import json; print(json.dumps(provenance()))", "--config=x y") as process:
        found = json.loads(process.stdout.readline())
    started = datetime.datetime.fromisoformat(found["started"])
    assert before <= started <= datetime.datetime.now(datetime.UTC)
    assert found["command"][-1] == "--config=x y"
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["numpy"] == np.__version__
    assert found["host"] == os.uname().nodename
    assert found["cpus"] == len(os.sched_getaffinity(0))


def git(folder: pathlib.Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_provenance_names_the_commit_of_the_source_that_runs_and_of_no_other(tmp_path):
    package = tmp_path / "gnexp"
    (package / "workdir").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", *(f"workdir/{name}.py" for name in ("__init__", "files", "provenance"))):
        shutil.copyfile(ROOT / "gnexp" / name, package / name)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    code = f"import json, sys; sys.path[:0] = [{str(tmp_path)!r}]; from gnexp.workdir.provenance import provenance"
    command = [sys.executable, "-c", f"{code}; print(json.dumps(provenance()['git']))"]

    def found():
        return json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)

    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-q", "-m", "somebody else's")
    assert found() is None, "an installed copy inside somebody else's checkout"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "ours")
    (tmp_path / "notes").touch()
    assert found() == {"commit": git(tmp_path, "rev-parse", "HEAD"), "changed": False}
    assert sources.commit(package) == found()
    with (package / "errors.py").open("a") as file:
        file.write("# changed\n")
    assert found() == {"commit": git(tmp_path, "rev-parse", "HEAD"), "changed": True}
    assert sources.commit(package) == found()
