"""The search space: what a table means, what is refused, and that its three uses agree."""

import contextlib
import itertools
import math
import pathlib

import keras_tuner
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import fmnist_sweep, smoke
from gnexp.config import base, beginning
from gnexp.config.paths import flatten
from gnexp.config.stored import from_json, to_json
from gnexp.config.validation import validate
from gnexp.errors import UserError
from gnexp.events import hparams
from gnexp.space import boolean, by, choice, columns, fixed, floats, integers
from gnexp.space.parse import parse_space
from gnexp.sweeps.oracles import hyperparameters

pytestmark = pytest.mark.any_backend


def _sweep(tuner="random", **sections):
    """Returns the config of a sweep of the smoke training over a table given by section."""
    config = smoke.get_config()
    config.sweep = fmnist_sweep.get_config().sweep
    config.sweep.tuner = tuner
    config.sweep.space = ConfigDict(sections)
    validate(config)
    return config


def _parse(**sections):
    return parse_space(_sweep(**sections))


_EVERYTHING = {
    "model": {
        "groups": choice(1, 2, 4),
        "epsilon": floats(1e-7, 1e-2, sampling="log"),
        "args": {"units": integers(8, 64, step=8)},
    },
    "optimizer": {
        "name": choice("adam", "sgd", "lion"),
        "nesterov": by("optimizer.name", role="nuisance", sgd=boolean()),
        "momentum": by("optimizer.name", role="nuisance", sgd=floats(0.5, 0.75, step=0.125)),
        "learning_rate": by(
            "optimizer.name",
            role="nuisance",
            adam=floats(1e-4, 1e-2, sampling="log"),
            sgd=choice(0.1, 0.01),
            lion=fixed(1e-4),
        ),
        "weight_decay": fixed(0.5),
    },
    "data": {"batch_size": integers(1, 64, step=4, sampling="log")},
}


def test_every_kind_of_entry_means_what_keras_tuner_means():
    parsed = _parse(**_EVERYTHING)
    hps = hyperparameters.of(parsed)
    kinds = {(hp.name, type(hp).__name__, len(hp.conditions)) for hp in hps.space}
    assert kinds == {
        ("model.groups", "Choice", 0),
        ("model.epsilon", "Float", 0),
        ("model.args.units", "Int", 0),
        ("optimizer.name", "Choice", 0),
        ("optimizer.nesterov", "Boolean", 1),
        ("optimizer.momentum", "Choice", 1),
        ("optimizer.learning_rate", "Float", 1),
        ("optimizer.learning_rate", "Choice", 1),
        ("optimizer.learning_rate", "Fixed", 1),
        ("optimizer.weight_decay", "Fixed", 0),
        ("data.batch_size", "Int", 0),
    }
    by_name = {(hp.name, type(hp).__name__): hp for hp in hps.space}
    for (name, kind), entry in {
        ("model.args.units", "Int"): parsed.of("model.args.units")[0],
        ("data.batch_size", "Int"): parsed.of("data.batch_size")[0],
        ("optimizer.momentum", "Choice"): parsed.of("optimizer.momentum")[0],
    }.items():
        # keras-tuner's own list of the values of a range with steps is the reference for ours.
        assert entry.points() == pytest.approx(list(by_name[name, kind].values))
        assert entry.count() == len(entry.points())


def test_the_size_is_the_number_of_combinations():
    table = {name: dict(section) for name, section in _EVERYTHING.items()}
    table["model"]["epsilon"] = choice(1e-3, 1e-5)
    table["optimizer"]["learning_rate"] = by("optimizer.name", sgd=choice(0.1, 0.01), adam=choice(1e-3))
    parsed = _parse(**table)
    found = list(parsed.grid())
    assert len({str(values) for values in found}) == len(found) == parsed.size() == parsed.grid_size()
    # groups 3 x epsilon 2 x units 8 x batch 4, times sgd (nesterov 2 x momentum 3 x rate 2) + adam 1 + lion 1
    assert len(found) == 3 * 2 * 8 * 4 * (2 * 3 * 2 + 1 + 1)
    assert parsed.size() < math.inf
    assert _parse(**_EVERYTHING).size() == math.inf


def test_a_value_is_there_exactly_where_its_condition_holds():
    for values in itertools.islice(_parse(**_EVERYTHING).grid(), 0, None, 97):
        assert ("optimizer.momentum" in values) == (values["optimizer.name"] == "sgd")
        if values["optimizer.name"] == "lion":
            assert values["optimizer.learning_rate"] == 1e-4


def test_a_trials_config_is_a_valid_training_with_its_values():
    config = _sweep(**_EVERYTHING)
    parsed = parse_space(config)
    for values in itertools.islice(parsed.grid(), 0, None, 997):
        trained = parsed.config(config, values)
        validate(trained)
        assert "sweep" not in trained
        flat = flatten(trained)
        assert {path: flat[path] for path in values} == values
        assert flat["optimizer.weight_decay"] == 0.5
        if "optimizer.momentum" not in values:
            assert flat["optimizer.momentum"] == 0.9
    assert "sweep" in config


def test_the_table_survives_its_record_on_disk():
    config = _sweep(**_EVERYTHING)
    again = from_json(to_json(config))
    assert parse_space(again).entries == parse_space(config).entries


def test_every_row_fills_every_column_within_its_domain():
    config = _sweep(**_EVERYTHING)
    parsed = parse_space(config)
    shown = {column.name: column for column in columns.columns(parsed, hparams.of(parsed.config(config, {})))}
    for values in itertools.islice(parsed.grid(), 0, None, 499):
        row = {**hparams.of(parsed.config(config, values)), **columns.row(parsed, values)}
        assert row.keys() == shown.keys()
        for name, value in row.items():
            domain = shown[name]
            assert type(value) in {type(domain.values[0]), int, float} and isinstance(value, str) == isinstance(
                domain.values[0], str
            )
            path = name.removeprefix("log10(").removesuffix(")")
            if path in values or path not in parsed.paths:
                if domain.interval:
                    assert min(domain.values) <= value <= max(domain.values) or math.isclose(value, domain.values[1])
                else:
                    assert value in domain.values


def test_what_is_searched_is_told_from_what_is_not():
    parsed = _parse(**_EVERYTHING)
    assert "optimizer.weight_decay" in parsed.paths and "optimizer.weight_decay" not in parsed.searched
    roles = {path: parsed.role(path) for path in parsed.paths}
    assert roles["model.groups"] == "scientific" and roles["optimizer.momentum"] == "nuisance"
    assert roles["optimizer.weight_decay"] == "fixed"
    config = fmnist_sweep.get_config()
    shown = {
        c.name: c for c in columns.columns(parse_space(config), hparams.of(parse_space(config).config(config, {})))
    }
    first = sorted(name for name, column in shown.items() if column.differs)
    assert first == [
        "data.batch_size",
        "log10(model.epsilon)",
        "log10(optimizer.learning_rate)",
        "model.groups",
        "optimizer.name",
    ]


def test_a_column_where_a_hyperparameter_is_absent_is_a_number_outside_its_domain():
    parsed = _parse(**_EVERYTHING)
    row = columns.row(parsed, {**next(parsed.grid()), "optimizer.name": "adam"})
    assert row["optimizer.momentum"] == 0 and row["optimizer.nesterov"] is False
    below = _parse(model={"norm": choice("group", "none"), "args": {"l2": by("model.norm", group=floats(0.0, 1.0))}})
    assert columns.row(below, {"model.norm": "none"})["model.args.l2"] == -1
    logged = _parse(
        model={"norm": choice("group", "none"), "epsilon": by("model.norm", group=floats(1e-5, 1e-3, sampling="log"))}
    )
    assert columns.row(logged, {"model.norm": "none"})["log10(model.epsilon)"] == -6


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({}, ["config.sweep.space", "empty"]),
        ({"model": {"groups": choice(8)}}, ["no entry with more than one value"]),
        ({"model": {"groups": choice(1, 3)}}, ["model.groups=3", "filters", "1, 2, 4, 8"]),
        ({"model": {"groups": integers(1, 8)}}, ["model.groups=3"]),
        ({"model": {"groups": choice(1, 0)}}, ["config.sweep.space.model.groups", "0", "1 or more"]),
        ({"model": {"groups": choice(1, 1)}}, ["differ"]),
        ({"model": {"groups": choice(1, "2")}}, ["one type"]),
        ({"model": {"gruops": choice(1, 2)}}, ["config.sweep.space.model.gruops", "model.groups"]),
        ({"modell": {"groups": choice(1, 2)}}, ["config.sweep.space.modell"]),
        ({"model": {"groups": 4}}, ["config.sweep.space.model.groups=4", "choice"]),
        ({"model": {"args": {"filters": choice(8, 16)}}}, ["several numbers"]),
        ({"seed": choice(1, 2)}, ["config.sweep.space.seed", "executions"]),
        ({"data": {"validation": choice(0.1, 0.2)}}, ["data.validation"]),
        ({"model": {"norm": choice("group", "btach")}}, ["'btach'", "'batch'"]),
        ({"model": {"epsilon": floats(1e-2, 1e-7)}}, ["min_value=0.01", "max_value=1e-07"]),
        ({"model": {"epsilon": floats(0, 1, sampling="log")}}, ["above 0"]),
        ({"model": {"epsilon": floats(1e-3, 1, sampling="lin")}}, ["sampling='lin'", "linear, log"]),
        ({"model": {"epsilon": floats(1e-3, 1, step=1, sampling="log")}}, ["step=1"]),
        ({"model": {"epsilon": floats(-1, 1)}}, ["-1.0", "above 0"]),
        ({"model": {"epsilon": floats(1e-3, math.nan)}}, ["max_value=nan"]),
        ({"model": {"epsilon": floats(1e-3, math.inf)}}, ["max_value=inf"]),
        ({"model": {"groups": choice(1, 2, role="main")}}, ["role='main'", "scientific, nuisance"]),
        ({"optimizer": {"momentum": by("optimizer.name", sgd=floats(0, 0.9))}}, ["parent='optimizer.name'"]),
        (
            {"optimizer": {"name": choice("adam", "sgd"), "momentum": by("optimizer.name", sdg=floats(0, 0.9))}},
            ["cases.sdg", "'sgd'"],
        ),
        (
            {"optimizer": {"name": choice("adam", "lion"), "momentum": by("optimizer.name", sgd=floats(0, 0.9))}},
            ["no case for any value"],
        ),
        ({"epochs": choice(1, 2), "tuner": "hyperband"}, ["epochs", "hyperband"]),
        ({"data": {"train_size": choice(48, 96)}}, ["data.train_size", "one dataset"]),
        ({"deterministic": choice(True, False)}, ["config.sweep.space.deterministic"]),
        ({"model": {"epsilon": floats(1e-3, 1, step=math.nan)}}, ["step=nan"]),
        ({"model": {"epsilon": floats(1e-3, 1, step=1e-300)}}, ["at most 1000000"]),
        ({"model": {"args": {"units": integers(8, 16, step=2.5)}}}, ["step=2.5"]),
        ({"model": {"args": {"units": integers(True, 16)}}}, ["min_value=True"]),
        ({"model": {"groups": choice([1, 2])}}, ["config.sweep.space.model.groups.values"]),
        ({"model": {"groups": {"type": "by", "role": "nuisance"}}}, ["config.sweep.space.model.groups"]),
        ({"optimizer": {"name": fixed("adam,sgd")}}, ["'adam,sgd'"]),
        (
            {"model": {"args": {"units": integers(1, 10**400)}}},
            ["config.sweep.space.model.args.units.max_value", "whole number"],
        ),
        ({"model": {"args": {"l2": choice(0.1, 10**400)}}}, ["config.sweep.space.model.args.l2.values"]),
        ({"model": {"args": {"units": {1: 2}}}}, ["config.sweep.space.model.args.units", "the key 1"]),
        ({"model": {"args": {"units": {1: 2, "a": 3}}}}, ["config.sweep.space.model.args.units", "strings"]),
        (
            {"schedule": {"name": choice("plateau", "cosine"), "warmup_epochs": floats(0, 5)}},
            ["warmup_epochs=5", "epochs=3"],
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(sections, words):
    with pytest.raises(UserError) as error:
        _parse(**sections)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_words_may_be_given_without_quotes_on_the_command_line():
    config = fmnist_sweep.get_config()
    config.sweep.space.optimizer.name.values = ("adam, sgd",)
    parsed = parse_space(config)
    assert parsed.of("optimizer.name")[0].values == ("adam", "sgd")
    assert {entry.when[1] for entry in parsed.of("optimizer.learning_rate")} == {("adam",), ("sgd",)}


def test_the_last_step_of_a_range_is_its_end():
    entry = _parse(model={"args": {"l2": floats(0, 0.3, step=0.1)}}).of("model.args.l2")[0]
    assert entry.everything() == [0, 0.1, 0.2, 0.3]
    entry = _parse(model={"epsilon": floats(1e-7, 1e-2, step=10, sampling="log")}).of("model.epsilon")[0]
    assert entry.everything() == [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]


def test_a_sweep_that_began_with_other_steps_is_not_gone_on_with():
    space = _parse(model={"args": {"l2": floats(0.1, 0.3, step=0.1)}})
    hyperparameters.check_stored(hyperparameters.of(space), space, pathlib.Path("oracle.json"))
    older = keras_tuner.HyperParameters()
    older.Choice("model.args.l2", [0.1, 0.2, 0.1 + 2 * 0.1])
    with pytest.raises(UserError, match=r"oracle\.json: .* the steps of model\.args\.l2 differently"):
        hyperparameters.check_stored(older, space, pathlib.Path("oracle.json"))


def test_whole_numbers_on_a_logarithmic_scale_have_shares_of_it():
    entry = _parse(data={"batch_size": integers(1, 1024, sampling="log")}).of("data.batch_size")[0]
    drawn = [entry.at(place / 1000) for place in range(1000)]
    assert (drawn[0], entry.at(1 - 1e-9)) == (1, 1024) and sorted(drawn) == drawn
    assert sum(value < 32 for value in drawn) == pytest.approx(500, abs=1)


def test_a_race_can_afford_its_first_training():
    for most, allowed in ((6, False), (7, True), (0, True)):
        config = _sweep("racing", optimizer={"name": choice("adam", "sgd")})
        config.epochs, config.sweep.max_epochs = 13, most
        parse_space(config)  # also of a race that is under way, which fewer epochs end
        with contextlib.nullcontext() if allowed else pytest.raises(UserError, match=r"max_epochs=6 .* at least 7"):
            beginning.check(config)


def test_a_whole_number_in_the_config_does_not_keep_floats_out():
    config = _sweep(model={"args": {"l2": floats(0, 1)}})
    plain = config.to_dict()
    plain["model"]["args"]["l2"] = 0
    trained = parse_space(ConfigDict(plain)).config(ConfigDict(plain), {"model.args.l2": 0.25})
    assert trained.model.args.l2 == 0.25
    validate(trained)


def test_a_choice_between_true_and_false_stays_one():
    for values in ((True, False), (True,)):
        parsed = _parse(optimizer={"nesterov": choice(*values)}, model={"groups": choice(1, 2)})
        (hp,) = (hp for hp in hyperparameters.of(parsed).space if hp.name == "optimizer.nesterov")
        assert {type(hp.random_sample(seed)) for seed in range(9)} == {bool}


def test_a_rate_that_is_0_somewhere_has_no_logarithm():
    entries = {"sgd": fixed(0.0), "adam": floats(1e-4, 1e-2, sampling="log")}
    parsed = _parse(
        optimizer={"name": choice("adam", "sgd"), "weight_decay": by("optimizer.name", **entries)},
    )
    names = {
        column.name for column in columns.columns(parsed, {"optimizer.name": "adam", "optimizer.weight_decay": 0.1})
    }
    assert names == {"optimizer.name", "optimizer.weight_decay"}
    assert columns.row(parsed, {"optimizer.name": "sgd", "optimizer.weight_decay": 0.0})["optimizer.weight_decay"] == 0


def test_the_step_of_a_case_can_be_given_later():
    config = fmnist_sweep.get_config()
    config.sweep.space.optimizer.learning_rate.cases.sgd.step = 10.0
    assert {entry.step for entry in parse_space(config).of("optimizer.learning_rate")} == {None, 10.0}


def test_a_grid_tries_its_own_value_once_however_it_is_rounded():
    config = _sweep("grid", optimizer={"momentum": floats(0.0, 0.9)})
    config.optimizer.momentum, config.sweep.own_first, config.sweep.max_trials = 0.3, True, 100
    space = parse_space(config)
    tried = [values["optimizer.momentum"] for values in space.grid_from(space.first(config))]
    assert tried[0] == 0.3 and [round(value, 9) for value in tried].count(0.3) == 1
    assert len(tried) == space.grid_size() == space.trials(config)


def test_numbers_of_numpy_and_options_of_the_task_are_searched():
    config = smoke.get_config()
    config.sweep = base.get_sweep()
    config.sweep.space.data.batch_size = choice(*np.array([8, 16]))
    config.sweep.space.task.label_smoothing = choice(0.0, *np.linspace(0.1, 0.2, 2))
    entries = {entry.path: entry.values for entry in parse_space(config).entries}
    assert entries == {"data.batch_size": (8, 16), "task.label_smoothing": (0.0, 0.1, 0.2)}
