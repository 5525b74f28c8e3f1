"""What older versions wrote stays valid: config files, workdirs, sweeps, kept results and command lines."""

import copy
import json

import pytest
from ml_collections import ConfigDict

from configs import smoke, smoke_sweep
from gnexp.config.defaults import fill_in
from gnexp.config.paths import flatten
from gnexp.config.stored import from_json, resume_config, to_json
from gnexp.config.upgrade import RENAMED, renamed, upgrade, with_present_names
from gnexp.config.validation import validate
from gnexp.space import by, choice, floats
from gnexp.space.parse import parse_space

pytestmark = pytest.mark.any_backend


def _older(config: ConfigDict) -> dict:
    """Returns a config as the version before `model.args` stored it."""
    stored = to_json(config)
    fill_in(stored)
    stored["model"].update(stored["model"].pop("args"))
    del stored["model"]["name"]
    return stored


def test_an_older_workdir_resumes_with_its_values():
    stored = _older(smoke.get_config())
    assert stored["model"]["filters"] == [8, 16]
    before = copy.deepcopy(stored)
    config = resume_config(smoke.get_config(), stored)
    validate(config)
    assert (config.model.name, config.model.args.filters, config.model.args.units) == ("cnn", (8, 16), 32)
    assert stored == before


def test_an_older_config_file_and_older_flags_are_taken(train_here, tmp_path):
    path = tmp_path / "older.py"
    values = _older(smoke.get_config())
    path.write_text(f"from gnexp.config import from_json\n\n\ndef get_config():\n    return from_json({values!r})\n")
    for flag, says in (
        ("--config.model.filters=7,8", "config.model.args.filters=(7, 8)"),
        ("--config.model.units=0", "config.model.args.units=0 is not allowed: it must be a whole number of 1 or more"),
        ("--config.model.l2=x", "config.model.args.l2=x is not allowed: it must be a number of 0 or more"),
    ):
        assert says in train_here(flag, config=str(path)).stderr


def test_an_older_search_space_has_its_entries_under_the_present_names():
    config = smoke_sweep.get_config()
    config.sweep.space = ConfigDict(
        {
            "model": {
                "units": choice(16, 32),
                "l2": by("model.units", **{"16": floats(0.0, 0.1), "32": floats(0.0, 1.0)}),
            }
        }
    )
    upgrade(config)
    fill_in(config)
    assert parse_space(config).paths == ["model.args.units", "model.args.l2"]
    assert parse_space(from_json(to_json(config))).of("model.args.l2")[0].when == ("model.args.units", (16,))


@pytest.mark.parametrize("path", RENAMED)
def test_a_path_has_its_present_name_wherever_it_stands(path):
    new = RENAMED[path]
    assert renamed(path) == new
    assert renamed(f"sweep.space.{path}.values") == f"sweep.space.{new}.values"
    assert renamed(new) == new
    assert renamed(f"{path}s") == f"{path}s"
    state = {"space": [{"name": path, "conditions": [[path, 3]]}], "values": {path: 3}}
    assert with_present_names(state) == json.loads(json.dumps(state).replace(path, new))


def test_a_present_config_is_left_as_it_is():
    config = smoke.get_config()
    upgrade(config)
    assert flatten(config) == flatten(smoke.get_config())
