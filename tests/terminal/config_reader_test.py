"""Reading --config: what a sweep wrote is data, a program's mistakes are one line, and its folder is all it brings."""

import os
import pathlib
import pprint
import re
import subprocess
import sys

import pytest

from configs import smoke
from gnexp.config.defaults import fill_in
from gnexp.config.stored import to_json
from gnexp.errors import UserError
from gnexp.terminal import config_reader
from gnexp.terminal.config_reader import ConfigReader

pytestmark = pytest.mark.any_backend
ROOT = pathlib.Path(__file__).parents[2]
# As gnexp 0.1 wrote it; what it says is compared with what it gives in tests/sweeps/sweep_test.py.
BEST = '''"""Trial 0003, the best of a sweep: val_accuracy 0.9000 (seeds: 1)."""

from gnexp.config import from_json


def get_config():
    """Returns the trial's config."""
    return from_json(
{values}
    )
'''
BOOBY_TRAP = "import pathlib\npathlib.Path(__file__).with_name('was-run').touch()\n"
nobody = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def read(path: pathlib.Path | str):
    return ConfigReader("config").parse(str(path))


def filled(config):
    """Returns a config with every key that has a default."""
    with config.unlocked():
        fill_in(config)
    return config


def best(folder: pathlib.Path, text: str = "") -> pathlib.Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "best.py"
    path.write_text(text or BEST.format(values=pprint.pformat(to_json(smoke.get_config()))))
    path.chmod(0o600)
    return path


def test_best_py_is_read_and_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(config_reader, "_run", None)
    path = best(tmp_path / "sweep")
    path.parent.chmod(0o777)
    config = read(path)
    assert config.to_dict() == filled(smoke.get_config()).to_dict()
    assert config.is_locked
    with pytest.raises(UserError, match=r"best\.py:x is not allowed: .* takes no argument"):
        read(f"{path}:x")


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_the_code_beside_best_py_is_found_unless_others_could_have_left_it(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = best(tmp_path / "sweep")
    (path.parent / "code").mkdir()
    path.parent.chmod(mode)
    read(path)
    assert (str(path.parent / "code") in sys.path) is (mode == 0o755)


@pytest.mark.parametrize(
    "change",
    [
        ("import from_json", "import from_json\nimport os"),
        ("from gnexp.config", "from evil.config"),
        ("    return from_json(", "    print()\n    return from_json("),
        ("from_json(\n", "from_json(print() or\n"),
        ("def get_config", "@print\ndef get_config"),
    ],
)
def test_what_no_sweep_writes_is_a_program_and_is_not_run_where_others_may_write(tmp_path, change):
    path = best(tmp_path / "sweep")
    path.write_text(path.read_text().replace(*change) + BOOBY_TRAP)
    path.parent.chmod(0o770)
    with pytest.raises(UserError, match=rf"is not what a sweep writes.* others may write to {path.parent}; copy it"):
        read(path)
    path.parent.chmod(0o700)
    path.chmod(0o602)
    with pytest.raises(UserError, match=rf"others may write to {path}; copy it"):
        read(path)
    assert not (path.parent / "was-run").exists()


@nobody
def test_a_best_py_of_another_user_is_not_run(tmp_path):
    path = best(tmp_path / "sweep", BOOBY_TRAP)
    os.chown(path, 65534, 65534)
    with pytest.raises(UserError, match=rf"{path} belongs to \w+; copy it"):
        read(path)
    assert not (path.parent / "was-run").exists()


def test_a_best_py_that_its_user_changed_is_still_a_config(tmp_path):
    path = best(tmp_path / "sweep")
    path.write_text(path.read_text().replace("    return", "    epochs = 1\n    return"))
    assert read(path).to_dict() == filled(smoke.get_config()).to_dict()


def test_modules_beside_the_folder_of_a_config_are_not_imported(tmp_path):
    """As in a scratch folder of all users, where anyone may leave a pandas.py, which TensorFlow imports if it can."""
    shared = tmp_path / "shared"
    (shared / "sweep").mkdir(parents=True)
    (shared / "pandas.py").write_text(BOOBY_TRAP)
    path = str(shared / "sweep" / "mine.py")
    pathlib.Path(path).write_text("from configs import smoke\nget_config = smoke.get_config")
    script = f"""
import sys
before = list(sys.path)
from gnexp.terminal.config_reader import ConfigReader
ConfigReader("config").parse({path!r})
assert {{place for place in sys.path if place not in before}} <= {{{str(shared / "sweep")!r}, {str(ROOT)!r}}}
sys.modules.pop("pandas", None)
try:
    import pandas
except ImportError:
    pass
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    assert not (shared / "was-run").exists()


def test_a_config_imports_from_its_own_folder_wherever_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    folder = tmp_path / "mine_of_this_test"
    folder.mkdir()
    (folder / "base.py").write_text("from configs import smoke\nget_config = smoke.get_config")
    (folder / "near.py").write_text("import other_of_this_test\nget_config = other_of_this_test.get_config")
    (folder / "other_of_this_test.py").write_text("from mine_of_this_test.base import get_config")
    assert read(folder / "near.py").to_dict() == filled(smoke.get_config()).to_dict()
    assert "mine_of_this_test" not in sys.modules
    # /tmp and its like.
    folder.chmod(0o1777)
    sys.path.remove(str(folder))
    monkeypatch.delitem(sys.modules, "other_of_this_test")
    with pytest.raises(UserError, match="No module named"):
        read(folder / "near.py")
    assert str(folder) not in sys.path


def test_a_config_of_the_repository_is_read_from_another_folder(tmp_path):
    command = [sys.executable, "-m", "gnexp.train", f"--config={ROOT}/configs/smoke_sweep.py", "--config.epochs=0"]
    gnexp_alone = tmp_path / "site"
    gnexp_alone.mkdir()
    (gnexp_alone / "gnexp").symlink_to(ROOT / "gnexp")
    environment = {**os.environ, "PYTHONPATH": str(gnexp_alone)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("gnexp: config.epochs=0 is not allowed"), done.stderr


def test_a_compiled_copy_beside_a_config_is_not_run(tmp_path):
    """Python would take it if its dates fit, whoever wrote it."""
    path = tmp_path / "mine.py"
    path.write_text("from configs import smoke\nget_config = smoke.get_config")
    read(path)
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ValueError('the first', 1)", r"ValueError: \('the first', 1\) \(line 1\)"),
        ("def get_config():\n    raise KeyError('first\\nsecond')", r"KeyError: .* \(line 2\)"),
        ("def get_config():\n    raise ValueError('first\\nsecond')", r"ValueError: first \(line 2\)"),
        ("raise TypeError('first\\nsecond')", r"TypeError: first \(line 1\)"),
        ("def get_config():\n    raise GeneratorExit", r"GeneratorExit \(line 2\)"),
        ("raise BaseException('odd')", r"BaseException: odd \(line 1\)"),
        ("raise SystemExit(0)", r"SystemExit: 0 \(line 1\)"),
        ("x = 1\ndef get_config(:", r"SyntaxError: .*line 2\)"),
        ("class E(Exception):\n    __str__ = None\nraise E", r"E: <exception str\(\) failed> \(line 3\)"),
        ("x = '\\udc80'.encode()", r"UnicodeEncodeError: .*"),
        ("def get_config():\n    return get_config()", r"RecursionError: .*"),
    ],
)
def test_a_mistake_in_a_config_is_its_first_line_and_where(tmp_path, text, says):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read(path)
    assert re.fullmatch(rf"--config={path} cannot be read: {says}", str(refused.value)), refused.value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("c.model.self = c.model", r"config\.model\.self holds a section that it is part of"),
        ("c.model.whole = c", r"config\.model\.whole holds a section that it is part of"),
    ],
)
def test_a_section_that_holds_itself_is_named(tmp_path, change, says):
    path = tmp_path / "mine.py"
    path.write_text(
        f"from configs import smoke\ndef get_config():\n    c = smoke.get_config()\n    {change}\n    return c"
    )
    with pytest.raises(UserError, match=says):
        read(path)


def test_a_line_break_in_the_name_of_a_config_is_shown(train_here):
    done = train_here(config="configs/smoke.py\n")
    assert done.returncode == 2
    assert done.stderr == "gnexp: --config=configs/smoke.py\\n is not allowed: there is no such file\n"
