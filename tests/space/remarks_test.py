"""What is said before the first step: unfair comparisons, and what is searched where it changes nothing."""

import re

import pytest
from ml_collections import ConfigDict

from configs import fmnist_sweep, smoke
from gnexp.space import boolean, by, choice, entries, fixed, floats, integers
from gnexp.space.parse import parse_space
from gnexp.space.remarks import never_tried, of, without_effect

pytestmark = pytest.mark.any_backend


def sweep(**sections) -> ConfigDict:
    config = smoke.get_config()
    config.schedule.name = "constant"
    config.sweep = fmnist_sweep.get_config().sweep
    config.sweep.space = ConfigDict(sections)
    return config


@pytest.mark.parametrize(
    ("sections", "path", "where"),
    [
        ({"model": {"norm": choice("batch", "group", "layer"), "groups": choice(1, 2)}},
         "model.groups", "batch and layer"),
        ({"model": {"norm": choice("group", "none"), "epsilon": floats(1e-6, 1e-2, sampling="log")}},
         "model.epsilon", "none"),
        ({"model": {"norm": choice("ghost_batch", "batch"), "virtual_batch_size": integers(2, 8, step=2)}},
         "model.virtual_batch_size", "batch"),
        ({"optimizer": {"name": choice("adam", "sgd"), "nesterov": boolean(role="nuisance")}},
         "optimizer.nesterov", "adam"),
        ({"schedule": {"name": choice("constant", "cosine", "plateau"), "patience": choice(1, 2)}},
         "schedule.patience", "constant and cosine"),
    ],
)  # fmt: skip
def test_what_is_searched_in_vain_is_said_with_the_entry_that_spares_it(sections, path, where):
    config = sweep(**sections)
    (line,) = without_effect(config, parse_space(config))
    assert re.search(rf"config\.sweep\.space\.{path} changes nothing with [\w.]+={where},", line)
    # The entry in the line, taken as it is written, is valid, keeps the role, and silences the line.
    written = eval(re.search(r"= (by\(.*\))$", line)[1], vars(entries).copy())
    section, key = path.split(".")
    role = config.sweep.space[section][key].role
    config.sweep.space[section][key] = written
    space = parse_space(config)
    assert without_effect(config, space) == []
    assert space.role(path) == role


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"norm": choice("batch", "group"), "groups": by("model.norm", group=choice(1, 2))}},
        {"model": {"norm": choice("batch", "group"), "groups": by("model.norm", group=choice(1, 2), batch=fixed(1))}},
        {"model": {"norm": choice("batch", "group"), "groups": fixed(2)}},
        {"model": {"groups": choice(1, 2)}},
        {"optimizer": {"name": choice("adam", "sgd"), "learning_rate": choice(1e-3, 1e-2)}},
    ],
)
def test_nothing_is_said_where_every_value_has_its_effect(sections):
    config = sweep(**sections)
    assert without_effect(config, parse_space(config)) == []


def test_a_grid_that_ends_before_some_values_says_so():
    rates = floats(1e-4, 1e-1, sampling="log")
    config = sweep(model={"norm": choice("group", "batch")}, optimizer={"learning_rate": rates})
    config.sweep.tuner, config.sweep.max_trials = "grid", 6
    (line,) = never_tried(config, parse_space(config))
    assert line.endswith("20 trials, and config.sweep.max_trials=6 ends it before model.norm=batch has been tried")
    config.sweep.max_trials = 100
    assert never_tried(config, parse_space(config)) == []


def test_a_limit_that_only_a_race_has_is_said_to_change_nothing_elsewhere():
    config = sweep(model={"groups": choice(1, 2)})
    config.sweep.tuner, config.sweep.max_epochs, config.sweep.max_seconds = "grid", 5, 3.0
    lines = of(config, 10**6, parse_space(config))
    assert [line.partition(" ")[0] for line in lines] == ["config.sweep.max_epochs=5", "config.sweep.max_seconds=3"]
    assert "changes nothing with config.sweep.tuner='grid': only racing ends by it" in lines[0]
    config.sweep.tuner = "racing"
    assert of(config, 10**6, parse_space(config)) == []


def test_what_has_no_effect_anywhere_is_to_be_taken_out():
    config = sweep(model={"momentum": choice(0.9, 0.99)})
    (line,) = without_effect(config, parse_space(config))
    assert "model.momentum changes nothing with model.norm=group" in line
    assert line.endswith("take it out of the space")


@pytest.mark.parametrize(
    ("norm", "images", "batch", "epochs", "momentum", "said"),
    [
        (
            "batch",
            1000,
            10,
            9,
            0.99,
            "900 steps with config.model.momentum=0.99 .*lower config.model.momentum to 0.98",
        ),
        ("ghost_batch", 1000, 10, 9, 0.99, "model.norm=ghost_batch"),
        ("batch", 95, 10, 1, 0.9, "10 steps with config.model.momentum=0.9 do not settle: .*; train for more steps"),
        ("batch", 1000, 10, 10, 0.99, ""),
        ("batch", 1000, 10, 9, 0.98, ""),
        ("group", 10, 10, 1, 0.99, ""),
        ("frozen_batch", 10, 10, 1, 0.99, ""),
    ],
)
def test_moving_averages_that_do_not_settle_are_said(norm, images, batch, epochs, momentum, said):
    config = smoke.get_config()
    config.schedule.name = "constant"
    config.epochs, config.data.batch_size = epochs, batch
    config.model.update(norm=norm, momentum=momentum)
    found = of(config, images)
    assert len(found) == bool(said)
    assert not said or re.search(said, found[0])


def test_plateau_is_said_beside_batch_normalization_only():
    config = smoke.get_config()
    assert config.schedule.name == "plateau"
    assert of(config, 10**6) == []
    config.model.norm = "batch"
    (line,) = of(config, 10**6)
    assert "config.schedule.name='plateau'" in line


def test_a_sweep_is_judged_by_its_largest_batch_and_highest_momentum():
    norms = choice("batch", "group")
    config = sweep(model={"norm": norms, "momentum": by("model.norm", batch=choice(0.5, 0.9))},
                   data={"batch_size": choice(10, 1000)})  # fmt: skip
    config.epochs = 5
    (line,) = of(config, 20_000, parse_space(config))  # at 1,000 images, 100 steps and the config's own 0.99
    assert "model.norm=batch " in line
    assert "100 steps with config.model.momentum=0.99" in line
    assert of(config, 2_000_000, parse_space(config)) == []
