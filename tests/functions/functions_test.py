"""Functions by their names: found without an import, called with arguments that fit, kept on record."""

import hashlib
import inspect
import sys

import pytest

from gnexp.config import open_sections
from gnexp.config.arguments import MODELS
from gnexp.errors import UserError
from gnexp.functions import load, names, signature, sources
from gnexp.functions.signature import REQUIRED

pytestmark = pytest.mark.any_backend

_NETS = """
import math
from typing import Sequence

from parts import block, gone
from parts.inner import deep as renamed


def plain(inputs, outputs, *, depth: int, width=8, rate: float | None = None, units: Sequence[int] = (1, 2), on=True):
    \"\"\"Never called.\"\"\"


def anything(inputs, **others):
    pass


def wrapped(function):
    return function


@wrapped
def decorated(inputs, depth=3):
    pass


value = 3
raise SystemExit("imported")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the path, with a module that must not be imported, and a package."""
    (tmp_path / "nets_of_a_test.py").write_text(_NETS.replace("parts", "parts_of_a_test"))
    package = tmp_path / "parts_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import deep as block\n")
    (package / "inner.py").write_text("import json\nfrom . import unused\n\n\ndef deep(inputs, times=2):\n    pass\n")
    (package / "unused.py").write_text("")
    (package / "alone.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_signature_is_read_without_an_import(folder):
    found = signature.of("nets_of_a_test:plain")
    assert found.names == ["inputs", "outputs", "depth", "width", "rate", "units", "on"]
    assert found.get("depth").default is REQUIRED
    assert [found.get(name).kind for name in found.names[2:]] == [int, int, float, tuple, bool]
    assert (found.get("rate").optional, found.open) == (True, False)
    assert signature.of("nets_of_a_test:anything").open
    assert signature.of("nets_of_a_test:decorated") is None
    assert "nets_of_a_test" not in sys.modules


def test_a_signature_is_followed_through_imports(folder):
    assert signature.of("nets_of_a_test:renamed").names == ["inputs", "times"]
    assert signature.of("nets_of_a_test:block").names == ["inputs", "times"]
    assert "weights" in signature.of("keras.applications:MobileNetV2").names


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("depth", [3], [2.5, True, "3", None]),
        ("width", [3, 2.5], [True, "3", None]),  # no annotation says that it is whole
        ("rate", [3, 2.5, None], [True, "3"]),
        ("units", [(3,), [3, 4]], [3, "3", None]),
        ("on", [True, False], [1, "true"]),
    ],
)
def test_a_parameter_takes_what_its_annotation_or_its_default_says(folder, name, good, bad):
    parameter = signature.of("nets_of_a_test:plain").get(name)
    assert all(map(parameter.accepts, good))
    assert not any(map(parameter.accepts, bad))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nets_of_a_tset:plain", ["no module 'nets_of_a_tset'", "did you mean 'nets_of_a_test'"]),
        ("nets_of_a_test:plane", ["nets_of_a_test.py has no function 'plane'", "did you mean 'plain'"]),
        ("parts_of_a_test.outer:f", ["the package 'parts_of_a_test' has no 'outer'"]),
        ("broken_of_a_test:f", ["broken_of_a_test.py, line 2: SyntaxError"]),
    ],
)
def test_what_is_not_there_is_named(folder, name, words):
    (folder / "broken_of_a_test.py").write_text("\ndef f(:\n")
    with pytest.raises(UserError) as error:
        signature.of(name)
    assert all(word in str(error.value) for word in words), error.value


def test_an_installed_module_that_hides_the_users_is_refused(folder):
    (folder / "tabulate.py").write_text("def f(inputs): pass\n")
    sys.path.append(sys.path.pop(sys.path.index(str(folder))))
    with pytest.raises(UserError, match=r"tabulate.* hides .*tabulate\.py"):
        names.find("tabulate")


def test_folders_need_no_init_file_and_those_of_another_python_are_installed(folder):
    path = folder / "plain_of_a_test" / "deep" / "deeper" / "nets.py"
    path.parent.mkdir(parents=True)
    path.write_text("def f(inputs): ...\n")
    assert names.find("plain_of_a_test.deep.deeper.nets") == path
    assert load.load("plain_of_a_test.deep.deeper.nets:f").__name__ == "f"
    assert not names.is_installed(path)
    assert names.is_installed(folder / "other" / "lib" / "site-packages" / "nets.py")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nowhere_at_all\n", "line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("\n\n1 / 0\n", "line 3: ZeroDivisionError"),
        (
            "try:\n    import nowhere_at_all\nexcept ImportError as e:\n    raise ValueError('x') from e\n",
            "line 2: Module",
        ),
    ],
)
def test_an_import_that_fails_says_its_first_cause_with_file_and_line(folder, text, says):
    (folder / "failing_of_a_test.py").write_text(text)
    with pytest.raises(UserError) as error:
        load.load("failing_of_a_test:f")
    assert f"{folder / 'failing_of_a_test.py'}, {says}" in str(error.value)


def test_the_record_holds_the_users_modules_that_are_imported_and_no_others(folder):
    code = sources.read({"model": "nets_of_a_test:plain"})
    package = "parts_of_a_test"
    files = ["nets_of_a_test.py", f"{package}/__init__.py", f"{package}/inner.py", f"{package}/unused.py"]
    assert list(code.files) == files
    for name in files:
        assert code.digests[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert code.record()["model"] == "nets_of_a_test:plain"
    assert sources.read({"model": "keras.applications:MobileNetV2"}).files == {}


_GIVEN = ("inputs", "outputs", "norm", "per_pixel")


@pytest.mark.parametrize("name", MODELS)
def test_the_arguments_of_a_built_in_network_are_its_functions(name):
    full = open_sections.function("model", name)
    parameters = inspect.signature(load.load(full)).parameters
    own = {key: each.default for key, each in parameters.items() if key not in _GIVEN}
    assert own.keys() == MODELS[name].keys()
    assert {each.name: each.default for each in open_sections.read("model", name).parameters} == own
    assert all(MODELS[name][key].accepts(default) for key, default in own.items())
    assert signature.of_function(load.load(full)) == signature.of(full)
