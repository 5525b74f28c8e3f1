"""What results/ keeps is what the commands on its page ask for, and its pages hold no more."""

import json
import pathlib
import re
import shlex
import shutil

import pytest
from absl import flags
from ml_collections import config_flags

from configs import original
from gnexp import report
from gnexp.config import to_json

pytestmark = pytest.mark.any_backend

RESULTS = pathlib.Path(__file__).parents[1] / "results"
KEPT = sorted(path.parent.name for path in RESULTS.glob("*/report"))
RUNS = sorted(path.parent.name for path in RESULTS.glob("original/*/config.json"))
PAGE = (RESULTS / "README.md").read_text()
_COMMAND = r"^ *python -m (gnexp\.train .*) --workdir=runs/(\w+)$"
SWEEPS = {name: command for command, name in re.findall(_COMMAND, PAGE.replace("\\\n", ""), re.MULTILINE)}


def stored(folder: pathlib.Path) -> dict:
    """Returns the config with which a kept sweep or training was made."""
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("kept", KEPT)
def test_a_page_is_made_of_what_is_kept(tmp_path, kept):
    shutil.copytree(RESULTS / kept, tmp_path / kept)
    assert report.report(tmp_path / kept).read_text() == (RESULTS / kept / "report/README.md").read_text()


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_is_that_of_its_command(name, monkeypatch):
    monkeypatch.chdir(RESULTS.parent)
    arguments = shlex.split(SWEEPS[name])
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    values(arguments)
    assert json.loads(json.dumps(to_json(values.config))) == stored(RESULTS / name)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_that_of_its_config_but_further_seeds_may_be_shorter(name):
    kept = stored(RESULTS / "original" / name)
    config = original.get_config(re.sub("-seed-.*", "", name))
    if "-seed-" in name:
        config.seed, config.epochs = kept["seed"], kept["epochs"]
    assert json.loads(json.dumps(to_json(config))) == kept


def test_no_run_is_missing():
    assert set(original.RUNS) <= set(RUNS)


def test_whatever_is_kept_is_on_the_page():
    assert sorted(re.findall(r"\]\((\w+)/report/README\.md\)", PAGE)) == KEPT
    assert sorted([*SWEEPS, "original"]) == KEPT
    assert all((RESULTS / picture).is_file() for picture in re.findall(r"!\[.*?\]\((.*?)\)", PAGE))
