"""Building and caching the C++ kernel, with faults. group_normalization_test.py tests what it computes.

The "compiler" here is mostly a script that copies the library that this machine has already compiled.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from gnexp.data.splits import SHAPE
from gnexp.group_normalization import GroupNormalization
from gnexp.models.build import build
from gnexp.norms import native

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel is TensorFlow's")

ROOT = pathlib.Path(__file__).parents[2]
CACHE = "group_normalization-tensorflow-*"
# Says whether the layer has its kernel, and what it computes.
SCRIPT = """
import sys
import keras, numpy as np
from gnexp.norms import native
from gnexp.group_normalization import GroupNormalization
model = keras.Sequential([keras.Input((5, 6)), GroupNormalization(3)])
print("kernel" if native.use(model) else "plain")
x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
normal = x.reshape(2, 5, 3, 2)
normal = (normal - normal.mean((1, 3), keepdims=True)) / np.sqrt(normal.var((1, 3), keepdims=True) + 1e-6)
np.testing.assert_allclose(model(x), normal.reshape(x.shape), atol=1e-5)
"""


@pytest.fixture(scope="module")
def compiled() -> pathlib.Path:
    """The library that belongs to this machine."""
    if not native.load():
        pytest.skip("the C++ kernel cannot be compiled here: there is no C++ compiler, say")
    base = native._base()
    return next(base.parent.glob(f"{base.name}-*.so"))


@pytest.fixture
def compiler(tmp_path):
    """Returns a function that makes a compiler from a script; the compiler adds a line to a file for each run."""

    def make(body: str) -> str:
        path = tmp_path / "compiler"
        path.write_text(f'#!/bin/sh\necho run >> "{tmp_path}/runs"\n{body}\n')
        path.chmod(0o755)
        return str(path)

    return make


def start(cache: pathlib.Path, **environment: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def loaded(monkeypatch, capsys):
    """Gives a function that asks for the kernel once more, in this process, and returns it with the lines that it said.

    Only for what fails: TensorFlow takes the operations of a library once.
    """

    def load(cache: pathlib.Path, **environment: str):
        for name, value in {"XDG_CACHE_HOME": str(cache), **environment}.items():
            monkeypatch.setenv(name, value)
        return native.load.__wrapped__(), capsys.readouterr().out.splitlines()

    return load


def output(process: subprocess.Popen) -> list[str]:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout.splitlines()


def runs(tmp_path) -> int:
    notes = tmp_path / "runs"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


HAND_OVER = 'while [ "$1" != -o ]; do shift; done\nsleep 1\ncp "{library}" "$2"'


@pytest.mark.slow
def test_two_processes_build_at_once_and_a_third_builds_nothing(tmp_path, compiler, compiled):
    program = compiler(HAND_OVER.format(library=compiled))
    cache = tmp_path / "cache"
    for lines in [output(process) for process in [start(cache, CXX=program), start(cache, CXX=program)]]:
        assert lines[-1] == "kernel"
    built = runs(tmp_path)
    assert 1 <= built <= 2
    assert output(start(cache, CXX=program)) == ["kernel"]
    assert runs(tmp_path) == built
    assert [path.name for path in (cache / "gnexp").iterdir()] == [compiled.name]


@pytest.mark.slow
def test_a_damaged_library_is_built_again(tmp_path, compiler, compiled):
    damaged = tmp_path / "cache" / "gnexp" / compiled.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(compiled.read_bytes()[:5000])
    program = compiler(HAND_OVER.format(library=compiled))
    assert output(start(tmp_path / "cache", CXX=program))[-1] == "kernel"
    assert runs(tmp_path) == 1
    assert damaged.read_bytes() == compiled.read_bytes()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo no such header >&2\nexit 1", "no such header"),
        (HAND_OVER.format(library="/etc/hostname"), "file too short"),
    ],
)
def test_a_build_that_fails_is_said_once_and_not_tried_again(tmp_path, loaded, compiler, body, reason):
    program = compiler(body)
    kernel, (first, second) = loaded(tmp_path / "cache", CXX=program)
    assert first.startswith("Compiling the C++ kernel")
    assert kernel is None
    failed = next((tmp_path / "cache" / "gnexp").glob(f"{CACHE}.failed"))
    assert str(failed) in second
    assert reason in failed.read_text()
    assert loaded(tmp_path / "cache", CXX=program) == (None, [])
    assert runs(tmp_path) == 1
    assert list(failed.parent.iterdir()) == [failed]


def test_only_the_user_can_write_to_the_cache(tmp_path, loaded, compiler):
    program = compiler("echo no >&2\nexit 1")
    before = os.umask(0)
    try:
        loaded(tmp_path / "cache", CXX=program)
    finally:
        os.umask(before)
    assert (tmp_path / "cache/gnexp").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("of_the_folder", "of_the_file"), [(0o777, 0o755), (0o770, 0o755), (0o700, 0o757)])
def test_a_library_that_others_could_have_written_is_built_again(
    tmp_path, loaded, compiler, of_the_folder, of_the_file
):
    planted = tmp_path / "cache/gnexp" / f"{native._base().name}-{native._digest(b'evil')}.so"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"evil")
    planted.chmod(of_the_file)
    planted.parent.chmod(of_the_folder)
    kernel, said = loaded(tmp_path / "cache", CXX=compiler("echo built again >&2\nexit 1"))
    assert kernel is None and said[0].startswith("Compiling the C++ kernel")
    assert not planted.exists()
    assert planted.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_cache_of_another_user_is_left_alone(tmp_path, loaded, compiler):
    cache = tmp_path / "cache/gnexp"
    cache.mkdir(parents=True)
    os.chown(cache, 65534, 65534)
    kernel, said = loaded(tmp_path / "cache", CXX=compiler("exit 1"))
    assert kernel is None
    (line,) = said
    assert line.startswith(f"The C++ kernel is not used, because {cache} belongs to ")
    assert list(cache.iterdir()) == [] and runs(tmp_path) == 0


def test_a_library_without_the_operations_is_said_once(tmp_path, loaded, compiler):
    if not shutil.which("c++"):
        pytest.skip("there is no C++ compiler here")
    empty = tmp_path / "empty.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-x", "c++", "/dev/null", "-o", str(empty)], check=True)
    program = compiler(HAND_OVER.format(library=empty))
    kernel, said = loaded(tmp_path / "cache", CXX=program)
    assert kernel is None and len(said) == 2 and said[1].startswith("Compiling failed (see ")
    (failed,) = (tmp_path / "cache/gnexp").iterdir()
    assert "has no operation gnexp_group_normalization" in failed.read_text()
    assert loaded(tmp_path / "cache", CXX=program) == (None, [])


def test_without_a_compiler_or_a_cache_the_plain_path_is_taken(tmp_path, loaded):
    (tmp_path / "bin").mkdir()
    (tmp_path / "file").touch()
    assert loaded(tmp_path / "cache", CXX="", PATH=str(tmp_path / "bin")) == (None, [])
    assert loaded(tmp_path / "file")[0] is None
    assert not (tmp_path / "cache" / "gnexp").exists()


def test_a_compiler_that_was_killed_is_asked_again(tmp_path, loaded, compiler):
    program = compiler("echo 'g++: fatal error: Killed signal terminated program cc1plus' >&2\nexit 1")
    assert loaded(tmp_path / "cache", CXX=program)[0] is None
    assert list((tmp_path / "cache" / "gnexp").iterdir()) == []


@pytest.mark.slow  # On a new machine, the tests of the layer build it, too.
def test_the_compiler_that_is_there_builds_it(tmp_path):
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler here")
    assert output(start(tmp_path, CXX=""))[-1] == "kernel"


def test_all_norms_that_are_group_normalization_have_the_kernel(small, compiled):
    for norm in ("group", "layer", "instance"):
        small.model.norm = norm
        model = build(small.model, SHAPE, 10)
        layers = [layer for layer in model.layers if isinstance(layer, GroupNormalization)]
        assert native.use(model)
        assert layers
        assert all(layer.kernel is native.load() for layer in layers)
        again = build(small.model, SHAPE, 10)
        again.set_weights(model.get_weights())
        x = np.random.default_rng(1).integers(0, 256, (3, *SHAPE), np.uint8)
        np.testing.assert_allclose(model(x), again(x), rtol=1e-4, atol=1e-4)
