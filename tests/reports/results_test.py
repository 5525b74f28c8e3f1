"""results/ keeps what the commands on its pages ask for, and its pages hold no more than that."""

import pathlib
import re
import shlex
import shutil

import pytest
from absl import flags
from ml_collections import config_flags

from configs import original
from gnexp import report
from gnexp.config.defaults import fill_in
from gnexp.config.paths import flatten
from gnexp.config.stored import to_json
from gnexp.space.parse import parse_space
from gnexp.workdir import files

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("undrawn")]

RESULTS = pathlib.Path(__file__).parents[2] / "results"
KEPT = sorted(path.parent.name for path in RESULTS.glob("*/report"))
RUNS = sorted(path.parent.name for path in RESULTS.glob("original/*/config.json"))
PAGES = {path: path.read_text() for path in (RESULTS / "README.md", *RESULTS.glob("*/README.md"))}
_TEXT = "".join(PAGES.values())
_COMMAND = r"^ *python -m (gnexp\.train .*) --workdir=runs/(\w+)$"
SWEEPS = re.findall(_COMMAND, _TEXT.replace("\\\n", ""), re.MULTILINE)
EPOCHS = dict(re.findall(r"\b(\w+_bs\d+):(\d+)\b", _TEXT))  # of the seeds after the first


def stored(folder: pathlib.Path) -> dict:
    """Returns the config, as one level, with which a kept sweep or training was made; keys that it lacks are added."""
    return filled_in(files.read_json(folder / files.CONFIG))


def filled_in(values: dict) -> dict:
    fill_in(values)
    return flatten(values)


@pytest.mark.parametrize("kept", KEPT)
def test_a_page_is_made_of_what_is_kept(tmp_path, kept):
    shutil.copytree(RESULTS / kept, tmp_path / kept, ignore=shutil.ignore_patterns("report"))
    assert report.report(tmp_path / kept).read_text() == (RESULTS / kept / "report/README.md").read_text()


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections calls it
@pytest.mark.parametrize(("command", "name"), SWEEPS)
def test_a_sweep_is_that_of_its_command(command, name, monkeypatch):
    monkeypatch.chdir(RESULTS.parent)
    arguments = shlex.split(command)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    values(arguments)
    asked = to_json(values.config)
    kept = stored(RESULTS / name)
    # Some were made before a sweep began with the config's own values, which all hold: only the order is another.
    space = parse_space(values.config)
    assert space.first(values.config) in space.grid()
    asked["sweep"]["own_first"] = kept["sweep.own_first"]
    # What is kept names no folder of the machine.
    for section in ("data", "model"):
        asked[section]["args"] = {
            key: value.rpartition("/")[2] if isinstance(value, str) else value
            for key, value in asked[section].get("args", {}).items()
        }
    assert filled_in(asked) == kept


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_that_of_its_config_and_further_seeds_go_as_far_as_the_page_says(name):
    run, _, seed = name.partition("-seed-")
    config = original.get_config(run)
    if seed:
        config.seed, config.epochs = int(seed), int(EPOCHS[run])
    assert filled_in(to_json(config)) == stored(RESULTS / "original" / name)


def test_no_run_is_missing():
    assert {*original.RUNS, *(f"{run}-seed-{seed}" for run in EPOCHS for seed in (1, 2))} == set(RUNS)


def test_whatever_is_kept_is_on_a_page_that_can_be_reached():
    linked = {
        path: {(path.parent / link).resolve() for link in re.findall(r"\]\(([\w./]+)\)", text)}
        for path, text in PAGES.items()
    }
    assert set(PAGES) - {RESULTS / "README.md"} <= linked[RESULTS / "README.md"]
    assert {RESULTS / name / "report" / "README.md" for name in KEPT} <= set.union(*linked.values())
    assert sorted([*(name for _, name in SWEEPS), "original"]) == KEPT
