"""C++'s noise goes to a file, and Python still writes to the terminal."""

import contextlib
import pathlib
import subprocess
import sys

import pytest

from gnexp.terminal.stderr import native_stderr

pytestmark = pytest.mark.any_backend

DESCRIPTORS = pathlib.Path("/proc/self/fd")


def python(code: str, log: pathlib.Path) -> subprocess.CompletedProcess:
    setup = f"import os, pathlib, sys; sys.path[:0] = {sys.path!r}; from gnexp.terminal.stderr import native_stderr\n"
    command = [sys.executable, "-c", setup + code, str(log)]
    return subprocess.run(command, capture_output=True, text=True)


NOISE = """
say = lambda text: print(text, file=sys.stderr)
say('before')
try:
    with native_stderr(pathlib.Path(sys.argv[1])):
        os.write(2, b'noise of C++\\n')
        say('within')
        os.system('echo noise of a child >&2')
        {end}
finally:
    os.write(2, b'native after\\n')
    say('after')
"""


def test_what_cpp_writes_goes_to_the_file_and_python_still_speaks_to_the_terminal(tmp_path):
    log = tmp_path / "backend.log"
    log.write_text("an earlier process\n")
    process = python(NOISE.format(end="print('out')"), log)
    assert process.returncode == 0
    assert process.stderr.splitlines() == ["before", "within", "native after", "after"]
    assert process.stdout == "out\n"
    assert log.read_text().splitlines() == ["an earlier process", "noise of C++", "noise of a child"]


def test_a_logger_that_was_made_within_still_writes_afterwards(tmp_path):
    log = "import logging; logger = logging.getLogger('made'); logger.addHandler(logging.StreamHandler())"
    process = python(NOISE.format(end=log) + "    logger.warning('later')\n", tmp_path / "backend.log")
    assert process.stderr.splitlines() == ["before", "within", "native after", "after", "later"]


def test_a_stderr_of_another_kind_is_left_alone(tmp_path):
    setup = "import io; sys.stderr = notebook = io.StringIO()\n"
    shown = "    print(notebook.getvalue().split(), sys.stderr is notebook)\n"
    process = python(setup + NOISE.format(end="pass") + shown, tmp_path / "backend.log")
    assert process.stdout == "['before', 'within', 'after'] True\n"
    assert (tmp_path / "backend.log").read_text().splitlines() == ["noise of C++", "noise of a child"]


def test_an_error_within_is_seen_on_the_terminal_and_restores_it(tmp_path):
    process = python(NOISE.format(end="raise RuntimeError('of ours')"), tmp_path / "backend.log")
    assert process.returncode == 1
    assert process.stderr.startswith("before\nwithin\nnative after\nafter\nTraceback")
    assert process.stderr.endswith("RuntimeError: of ours\n")
    assert "noise" in (tmp_path / "backend.log").read_text()


@pytest.mark.parametrize("log", [
    "backend.log",
    "",
])  # fmt: skip
@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="needs /proc")
def test_no_file_descriptor_is_left_open(tmp_path, log):
    before = sorted(DESCRIPTORS.iterdir())
    with contextlib.suppress(IsADirectoryError), native_stderr(tmp_path / log):
        pass
    assert len(list(DESCRIPTORS.iterdir())) == len(before)


def test_a_name_that_is_no_text_can_be_said(tmp_path):
    process = python(NOISE.format(end="say(os.fsdecode(b'runs/\\xff'))"), tmp_path / "backend.log")
    assert process.returncode == 0
    assert r"runs/\udcff" in process.stderr
