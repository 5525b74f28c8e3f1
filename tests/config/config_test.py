"""What a config may hold: every refusal is one line that names the key, the value and what is allowed."""

import functools
import json
import math
import re
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from configs import fmnist, fmnist_sweep, original, smoke, smoke_sweep
from gnexp.config import open_sections
from gnexp.config.arguments import MODELS
from gnexp.config.defaults import fill_in
from gnexp.config.fields import Field, integer
from gnexp.config.paths import flatten
from gnexp.config.schema import FIELDS, NORMS
from gnexp.config.stored import from_json, record, resume_config, to_json
from gnexp.config.validation import validate
from gnexp.errors import UserError

pytestmark = pytest.mark.any_backend

NAN, INFINITY = math.nan, math.inf

# Values that a field takes, values that it refuses, and what the refusal must say is allowed.
VALUES = {
    "seed": ([0, 2**32 - 1], [-1, 2**32, 1.5, True, "0", None], "whole number, 0 to 4294967295"),
    "epochs": ([1, 1000], [0, -1, 1.0, True, "3", None], "whole number of 1 or more"),
    "objective": (["val_accuracy", "val_loss"], ["accuracy", "val_", "", None, 1], "such as 'val_accuracy'"),
    "direction": (["", "max"], ["up", None, 1], "'max', 'min'"),
    "patience": ([0, 1, 10], [-1, 1.5, True, None], "whole number of 0 or more"),
    "deterministic": ([True, False], [1, "true", None], "true or false"),
    "precision": (["float32", "mixed_float16", "mixed_bfloat16"], ["float16", 16, None], "'mixed_float16'"),
    "jit_compile": ([True, False], [0, "no", None], "true or false"),
    "native": ([True, False], [1, "c++", None], "true or false"),
    "data.name": (
        ["fashion_mnist", "digits", "cifar100", "sklearn.datasets:load_digits"],
        ["imagenet", "", None, "two\nlines", "a:b:c"],
        "'fashion_mnist', 'digits', 'mnist', 'cifar10', 'cifar100', 'image_folder', 'image_pairs', 'arrays', or",
    ),
    "data.args": ([{}], [None, 3, "x", ()], "a section of"),
    "data.fallback": (["", "digits"], ["cifar10", None], "'digits'"),
    "data.directory": (["", "/data"], [None, 1, True], "path of a folder"),
    "data.batch_size": ([1, 60000], [0, -128, 128.0, True, "128"], "whole number of 1 or more"),
    "data.train_size": ([0, 1, 60000], [-1, 0.5, True, "all", None], "whole number of 0 or more"),
    "data.validation": (
        ["test", 1, 5000, 0.1, 0.999],
        [0, 0.0, 1.0, 1.5, -0.1, -1, True, NAN, "train", None],
        "a fraction between 0 and 1, a count of 1 or more, or 'test'",
    ),
    "data.test": ([1, 5000, 0.1, 0.999], [0, 0.0, 1.0, -1, True, NAN, "test", None], "a fraction between 0 and 1"),
    "data.split_seed": ([0, -1, 2**32 - 1], [-2, 2**32, 1.5, True, None], "whole number, -1 to 4294967295"),
    "data.memory": (
        ["", 1, 2 * 10**9, "2GB", "1.5 GiB", "500mb", "1000"],
        [0, -1, True, 1.5, "0", "lots", "2 GBs", "GB", None],
        "bytes, such as 2000000000 or '2GB'",
    ),
    "data.augment": ([{}, {"random_flip": {}}], [None, 3, "x", ()], "a section of layers"),
    "task.name": (
        ["classification", "my.tasks:Counting"],
        ["Classification", "", None, "a.b", 3],
        "one of 'classification', 'multilabel', 'segmentation', 'regression', or 'package.module:function'",
    ),
    "task.args": ([{}], [None, 3, "x", ()], "a section of"),
    "task.loss": (["", "huber", "my.losses:loss"], [None, 1, ()], "the name of a loss of Keras"),
    "task.figures": ([(), ("auc",), ["mae", "my.figures:f"]], ["auc", None, (1,), ("",)], "names of Keras's metrics"),
    "task.label_smoothing": ([0, 0.1], [1, -0.1, NAN, True, None], "of 0 or more, and below 1"),
    "task.top_k": ([0, 2, 5], [1, -1, 2.0, True, None], "0, or 2 to 1000"),
    "task.class_weight": (
        ["", "balanced", (1, 2.5), [0, 1]],
        ["even", (1,), (0, 0), (-1, 1), None, 3],
        "'balanced', or a number of 0 or more for each class",
    ),
    "model.name": (
        ["cnn", "mlp", "resnet", "unet", "keras.applications:MobileNetV2"],
        ["vgg", "", None, "a.b", "a:b:c", "a-b:c", 3],
        "one of 'cnn', 'mlp', 'resnet', 'unet', or 'package.module:function'",
    ),
    "model.args": ([{}], [None, 3, "x", ()], "a section of"),
    "model.norm": ([norm for norm in NORMS if norm != "keep"], ["gn", None, 8], "'group'"),
    "model.groups": ([1, 2, -1], [0, -2, 8.0, True, "8", None], "a whole number of 1 or more, or -1"),
    "model.groups_fit": (["exact", "gcd"], ["nearest", "", None, 1], "'exact', 'gcd'"),
    "model.channels_per_group": ([0, 1, 16], [-1, 1.0, True, None], "whole number of 0 or more"),
    "model.epsilon": ([1e-12, 1e-3, 1], [0, 0.0, -1e-6, NAN, INFINITY, "1e-6", True], "above 0"),
    "model.momentum": ([0, 0.9, 0.9997], [1, 1.0, -0.1, NAN, "0.9", True, None], "of 0 or more, and below 1"),
    "model.virtual_batch_size": ([1, 32], [0, -1, 1.5, True, None], "whole number of 1 or more"),
    "model.weight_standardization": ([True, False], [1, "true", None], "true or false"),
    "optimizer.name": (["adam", "amsgrad", "adamw", "sgd", "rmsprop", "lion"], ["Adam", "adagrad", None], "'amsgrad'"),
    "optimizer.learning_rate": ([1e-3, 1], [0, 0.0, -1e-3, NAN, INFINITY, "1e-3"], "above 0"),
    "optimizer.momentum": ([0, 0.9], [1, 1.0, -0.9, NAN, True], "of 0 or more, and below 1"),
    "optimizer.nesterov": ([True, False], [0, "yes"], "true or false"),
    "optimizer.decay_norms": ([True, False], [0, "no", None], "true or false"),
    "optimizer.weight_decay": ([0, 4e-3], [-4e-3, NAN, None], "0 or more"),
    "schedule.name": (["constant", "cosine", "plateau"], ["linear", "", None], "'constant', 'cosine', 'plateau'"),
    "schedule.warmup_epochs": ([0, 0.5, 1], [-1, NAN, INFINITY, "1"], "0 or more"),
    "schedule.factor": ([0.2, 0.999], [0, 0.0, 1, 1.0, -0.2, NAN, True], "between 0 and 1"),
    "schedule.patience": ([1, 3], [0, 2.5, True], "whole number of 1 or more"),
    "schedule.watch": (["val_loss", "val_accuracy"], ["loss", "", None], "such as 'val_accuracy'"),
    "schedule.min_learning_rate": ([0, 1e-5], [-1e-5, NAN, "0", INFINITY], "0 or more"),
    "sweep.tuner": (["random", "grid", "bayesian", "hyperband", "racing"], ["Random", "tpe", None], "'bayesian'"),
    "sweep.max_trials": ([1, 9999], [0, 10000, 2.0, True, None], "a whole number, 1 to 9999"),
    "sweep.own_first": ([True, False], [0, "no", None], "true or false"),
    "sweep.executions": ([1, 5], [0, -1, 1.5, None], "a whole number, 1 to 1000"),
    "sweep.max_epochs": ([0, 100], [-1, 1.5, None], "whole number of 0 or more"),
    "sweep.max_seconds": ([0, 0.0, 3600.0], [-1, NAN, None], "0 or more"),
    "sweep.precision": ([0.01, 1], [0, 0.0, -0.1, NAN, None], "above 0"),
    "sweep.max_failures": ([1, 5], [0, 1.5, None], "whole number of 1 or more"),
    "sweep.seed": ([0, 2**31 - 1], [-1, 2**31, 0.5, None], "0 to 2147483647"),
    "sweep.factor": ([2, 3], [1, 2.5, None], "whole number of 2 or more"),
    "sweep.executor": (["serial", "processes", "ray"], ["Ray", "", None], "one of 'serial', 'processes', 'ray'"),
    "sweep.parallel": ([1, 64], [0, -1, 2.0, True, None], "a whole number, 1 to 1000"),
    "sweep.resources.cpus": ([1, 8], [0, 0.5, True, None], "whole number of 1 or more"),
    "sweep.resources.gpus": ([0, 0.5, 1.0, 2], [-1, 1.5, True, None], "or a fraction of one GPU such as 0.5"),
}
# Likewise the arguments of the built-in networks.
ARGUMENTS = {
    ("cnn", "filters"): (
        [(32,), [32, 64]],
        [(), (32, 0), (32.0,), (True,), 32, "32", (1,) * 9, None],
        "such as (32, 64)",
    ),
    ("cnn", "units"): ([1], [0, 1.5, True], "whole number of 1 or more"),
    ("cnn", "conv_dropout"): ([0, 0.0, 0.99], [1, 1.0, -0.1, NAN, "0.25", False], "of 0 or more, and below 1"),
    ("cnn", "dense_dropout"): ([0, 0.5], [1.0, -1, INFINITY, None], "of 0 or more, and below 1"),
    ("cnn", "l2"): ([0, 0.0, 1e-5], [-1e-5, NAN, INFINITY, "0", False], "0 or more"),
    ("mlp", "units"): ([(8,), (8, 8)], [(), 8, (0,), None], "such as (32, 64)"),
    ("mlp", "dropout"): ([0, 0.5], [1.0, -1], "of 0 or more, and below 1"),
    ("resnet", "depth"): ([8, 20, 110, 18, 34, 50, 101, 152], [0, 9, 2, 8.0, True, "20", 36], "6n + 2"),
    ("resnet", "widen"): ([1, 10], [0, 0.5], "whole number of 1 or more"),
    ("resnet", "zero_gamma"): ([True, False], [0, "yes"], "true or false"),
    ("resnet", "l2"): ([0, 1e-4], [-1e-4, "0"], "0 or more"),
    ("unet", "width"): ([1, 64], [0, 1.5], "whole number of 1 or more"),
    ("unet", "levels"): ([1, 6], [0, 7, 1.0], "a whole number, 1 to 6"),
}
GOOD = [(path, value) for path, (good, _, _) in VALUES.items() for value in good]
BAD = [(path, value, allowed) for path, (_, bad, allowed) in VALUES.items() for value in bad]


@pytest.fixture
def sweep() -> ConfigDict:
    """A sweep's config, which has every key."""
    return fmnist_sweep.get_config()


def changed(config: ConfigDict, values: dict) -> ConfigDict:
    """Returns a copy of `config` with other values, of any type, at some dotted paths."""
    plain = config.to_dict()
    for path, value in values.items():
        *sections, key = path.split(".")
        section = plain
        for name in sections:
            section = section[name]
        section[key] = value
    return ConfigDict(plain)


def refusal(config: ConfigDict) -> str:
    """Returns what `validate` says against `config`, which must be one line."""
    with pytest.raises(UserError) as caught:
        validate(config)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Single values


@pytest.mark.parametrize("name", [fmnist, smoke, fmnist_sweep, smoke_sweep])
def test_the_configs_of_the_project_are_valid(name):
    validate(name.get_config())


@pytest.mark.parametrize("run", original.RUNS)
def test_the_original_trainings_are_valid(run):
    validate(original.get_config(run))


def test_every_key_has_its_values_in_this_file():
    assert VALUES.keys() == FIELDS.keys()


@pytest.mark.parametrize(("path", "value"), GOOD)
def test_a_good_value_is_taken(sweep, path, value):
    related = {"deterministic": False, "model.groups": 1, "schedule.min_learning_rate": 0.0}
    if path == "task.name" and ":" in value:
        pytest.skip("tests/tasks has it with its module")
    validate(changed(sweep, related | {path: value}))


@pytest.mark.parametrize(("path", "value", "allowed"), BAD)
def test_a_bad_value_is_refused_by_key_value_and_what_is_allowed(sweep, path, value, allowed):
    message = refusal(changed(sweep, {path: value}))
    assert f"config.{path}={value!r} " in message
    assert allowed in message


@pytest.mark.parametrize("path", ["model.epsilon", "data.validation"])
def test_a_number_beyond_every_float_is_refused(config, path):
    assert f"config.{path}=" in refusal(changed(config, {path: -(10**400)}))


def test_every_argument_of_a_built_in_network_has_its_values_in_this_file():
    assert ARGUMENTS.keys() == {(name, key) for name, fields in MODELS.items() for key in fields}


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_an_argument_takes_good_values_and_refuses_bad_ones(config, name, argument):
    good, bad, allowed = ARGUMENTS[name, argument]
    config = changed(config, {"model.name": name, "model.args": {}, "model.groups": 1})
    for value in good:
        validate(changed(config, {"model.args": {argument: value}}))
    for value in bad:
        message = refusal(changed(config, {"model.args": {argument: value}}))
        assert f"config.model.args.{argument}={value!r} is not allowed" in message
        assert allowed in message


@pytest.mark.parametrize("path", [path for path in VALUES if not path.endswith((".args", ".augment"))])
def test_a_missing_key_is_named(sweep, path):
    plain = sweep.to_dict()
    *sections, key = path.split(".")
    del functools.reduce(dict.get, sections, plain)[key]
    assert f"config.{path} is missing" in refusal(ConfigDict(plain))


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("model.group", "model.groups"),
        ("model.norms", "model.norm"),
        ("optimizer.lr_rate", "optimizer.learning_rate"),
        ("schedule.min_lr", "schedule.min_learning_rate"),
        ("data.batchsize", "data.batch_size"),
        ("epoch", "epochs"),
        ("learning_rate", "optimizer.learning_rate"),
    ],
)
def test_an_unknown_key_suggests_the_one_meant(config, mistyped, meant):
    message = refusal(changed(config, {mistyped: 1}))
    assert f"config.{mistyped}:" in message
    assert repr(meant) in message


def test_an_unknown_key_near_to_none_lists_them_all(config):
    message = refusal(changed(config, {"zzz": 1}))
    assert "config.zzz" in message
    assert all(path in message for path in FIELDS)


# Values together


@pytest.mark.parametrize("filters", [(32, 64), (12, 18), (7,), (5, 8), (64, 32, 48), (1,)])
def test_group_counts_that_do_not_divide_are_refused_with_those_that_do(config, filters):
    refused = {}
    for groups in range(1, max(filters) + 2):
        candidate = changed(config, {"model.groups": groups, "model.args.filters": filters})
        try:
            validate(candidate)
        except UserError as error:
            refused[groups] = str(error)
    dividing = {count for count in range(1, max(filters) + 2) if all(width % count == 0 for width in filters)}
    assert refused.keys() == set(range(1, max(filters) + 2)) - dividing
    for groups, message in refused.items():
        assert f"config.model.groups={groups} " in message
        assert f"config.model.args.filters={filters}" in message
        numbers = re.search(r"must be one of ([\d, ]+), or -1", message)[1]
        assert {int(number) for number in numbers.split(",")} == dividing


@pytest.mark.parametrize(("size", "filters"), [(3, (8, 16)), (16, (8, 16)), (5, (7,))])
def test_channels_per_group_that_do_not_divide_are_refused_with_those_that_do(config, size, filters):
    values = {"model.channels_per_group": size, "model.groups": 7, "model.args.filters": filters}
    message = refusal(changed(config, values))
    assert f"config.model.channels_per_group={size} " in message
    assert f"one of {'1, 2, 4, 8' if len(filters) == 2 else '1, 7'}, or 0" in message
    validate(changed(config, values | {"model.groups_fit": "gcd"}))


def test_gcd_takes_what_does_not_divide(config):
    validate(changed(config, {"model.groups": 7, "model.args.filters": (8, 12), "model.groups_fit": "gcd"}))


def test_keep_is_refused_where_the_network_has_no_norm_of_its_own(config):
    assert "config.model.norm='keep' " in refusal(changed(config, {"model.norm": "keep"}))


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "instance_scalar", "none", "ghost_batch"])
def test_the_group_count_does_not_matter_to_other_norms(config, norm):
    validate(changed(config, {"model.norm": norm, "model.groups": 7}))


def test_xla_is_refused_where_figures_must_be_deterministic(config):
    message = refusal(changed(config, {"jit_compile": True, "deterministic": True}))
    assert "config.jit_compile=True " in message
    assert "config.deterministic=True" in message


@pytest.mark.parametrize("warmup", [3, 3.5])
def test_a_warmup_as_long_as_the_training_is_refused(config, warmup):
    values = {"epochs": 3, "schedule.warmup_epochs": warmup}
    message = refusal(changed(config, values | {"schedule.name": "cosine"}))
    assert f"config.schedule.warmup_epochs={warmup} " in message
    assert "config.epochs=3" in message
    validate(changed(config, values | {"schedule.name": "constant"}))


def test_a_learning_rate_below_its_floor_is_refused(config):
    message = refusal(changed(config, {"optimizer.learning_rate": 1e-4, "schedule.min_learning_rate": 1e-3}))
    assert "config.schedule.min_learning_rate=0.001 " in message
    assert "config.optimizer.learning_rate=0.0001" in message
    validate(changed(config, {"optimizer.learning_rate": 1e-3, "schedule.min_learning_rate": 1e-3}))


def test_the_floor_does_not_matter_to_the_constant_schedule(config):
    validate(changed(config, {"schedule.name": "constant", "optimizer.learning_rate": 1e-6}))


# Records


@pytest.mark.parametrize("validation", [0.1, 5000, "test"])
def test_json_gives_back_every_value(config, validation):
    config.data.validation = validation
    text = json.dumps(to_json(config), allow_nan=False)
    back = from_json(json.loads(text))
    validate(back)
    assert to_json(back) == json.loads(text)
    closed = {path for path in FIELDS if not path.startswith("sweep.") and not open_sections.is_whole(path)}
    assert flatten(back).keys() == closed | {f"model.args.{key}" for key in MODELS["cnn"]}
    assert back.data.validation == validation
    assert type(back.data.validation) is type(validation)


def test_json_gives_filters_back_as_a_tuple(config):
    assert from_json(to_json(config)).model.args.filters == (32, 64)


def test_the_same_config_resumes(config):
    assert to_json(resume_config(config, to_json(config))) == to_json(config)


def test_another_config_is_refused_by_every_key_that_differs_with_both_values(config):
    stored = to_json(config)
    requested = changed(config, {"model.groups": 4, "optimizer.name": "sgd", "model.args.filters": (32, 32)})
    with pytest.raises(UserError) as caught:
        resume_config(requested, stored)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert set(re.findall(r"config\.[\w.]+", message)) == {
        "config.model.groups",
        "config.model.args.filters",
        "config.optimizer.name",
    }
    assert re.search(r"model\.groups\W.*\b8\b.*\b4\b", message)
    assert re.search(r"optimizer\.name\W.*'amsgrad'.*'sgd'", message)


def test_a_key_that_only_one_side_has_is_named(config):
    stored = to_json(config)
    stored["model"]["depth"] = 3
    del stored["schedule"]["factor"]
    with pytest.raises(UserError, match=r"config\.model\.depth .*config\.schedule\.factor "):
        resume_config(config, stored)


@pytest.fixture
def newer(monkeypatch) -> str:
    """A key that gnexp did not always have: `model.depth`, a whole number, by default 3."""
    monkeypatch.setitem(FIELDS, "model.depth", Field(integer(1), "depth", default=3))
    return "model.depth"


def test_a_workdir_from_before_a_key_has_its_default(config, newer):
    stored = to_json(config)
    asked = changed(config, {newer: 3})
    assert resume_config(asked, stored).model.depth == 3
    assert newer not in flatten(stored), "the caller's dict was changed"
    with pytest.raises(UserError, match=r"config\.model\.depth is 3 there and 4 here"):
        resume_config(changed(config, {newer: 4}), stored)
    with pytest.raises(UserError, match=r"config\.model\.depth is 4 there and 3 here"):
        resume_config(asked, to_json(changed(config, {newer: 4})))


def test_a_default_is_not_shared_between_configs(config):
    first, second = config.to_dict(), config.to_dict()
    del first["model"]["args"], second["model"]["args"]
    fill_in(first)
    fill_in(second)
    first["model"]["args"]["units"] = 3
    assert second["model"]["args"]["units"] == 128


_SWEEP = {"max_epochs": 0, "max_seconds": 0.0, "own_first": False, "precision": 0.01}  # what older sweeps lack


def test_only_sections_that_are_there_are_filled_in(monkeypatch):
    monkeypatch.setitem(FIELDS, "sweep.newer", Field(integer(1), "newer", default=3))
    for config, filled in (({}, {}), ({"sweep": {}}, {"sweep": _SWEEP | {"newer": 3}}), ({"sweep": 7}, {"sweep": 7})):
        for each in (config, ConfigDict(config)):
            fill_in(each)
            assert ConfigDict(each).to_dict() == {"direction": "", "patience": 0, **filled}


def test_a_config_file_from_before_a_key_takes_its_flag(tmp_path, train_here, config, newer):
    path = tmp_path / "older.py"
    path.write_text(
        f"from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({config.to_dict()})\n"
    )
    for flags, refused in (
        (["--config.model.depth=0"], "config.model.depth=0 "),
        (["--config.model.depth=5", "--config.epochs=0"], "config.epochs=0 "),
        (["--config.epochs=0"], "config.epochs=0 "),
    ):
        assert refused in train_here(*flags, config=str(path)).stderr


@pytest.mark.parametrize("tuner", ["grid", "racing"])
def test_a_sweep_from_before_own_first_goes_on_as_it_began(tuner):
    config = fmnist_sweep.get_config()
    config.sweep.tuner = tuner
    stored = to_json(record(config, "fashion_mnist"))
    del stored["sweep"]["own_first"]
    assert resume_config(config, stored).sweep.own_first is (tuner == "racing")
    assert config.sweep.own_first
    stored["sweep"]["own_first"] = False
    with pytest.raises(UserError, match=r"config.sweep.own_first is False there and True here"):
        resume_config(config, stored)


def test_a_training_that_fell_back_stays_with_its_dataset(config):
    assert (config.data.name, config.data.fallback) == ("fashion_mnist", "digits")
    stored = to_json(record(config, "digits"))
    assert resume_config(config, stored).data.name == "digits"


@pytest.mark.parametrize(("asked_then", "used", "asked_now", "fallback_now"), [
    ("fashion_mnist", "digits", "fashion_mnist", ""),  # fell back, which the command no longer allows
    ("digits", "digits", "fashion_mnist", "digits"),  # nothing was missing then
    ("fashion_mnist", "fashion_mnist", "digits", "digits"),
])  # fmt: skip
def test_a_dataset_that_no_fallback_explains_is_refused(config, asked_then, used, asked_now, fallback_now):
    stored = to_json(record(changed(config, {"data.name": asked_then}), used))
    now = changed(config, {"data.name": asked_now, "data.fallback": fallback_now})
    with pytest.raises(UserError, match=f"config.data.name is '{used}' there and '{asked_now}' here"):
        resume_config(now, stored)


def test_the_data_may_have_moved(config):
    stored = to_json(record(changed(config, {"data.directory": "/then"}), "fashion_mnist"))
    assert resume_config(changed(config, {"data.directory": "/now"}), stored).data.directory == "/now"


def test_a_sweep_resumes_elsewhere(sweep):
    fill_in(sweep)
    stored = to_json(sweep)
    elsewhere = {"sweep.executor": "ray", "sweep.parallel": 4, "sweep.resources.gpus": 0.5}
    assert flatten(resume_config(changed(sweep, elsewhere), stored)).items() >= elsewhere.items()
    for key in ("executor", "parallel", "resources"):  # as in the first version of sweeps
        del stored["sweep"][key]
    assert resume_config(sweep, stored).to_dict() == sweep.to_dict()


# Configs are pure


def test_configs_and_their_checks_import_no_backend():
    modules = "configs.fmnist, configs.smoke, gnexp.config"
    heavy = "{'keras', 'tensorflow', 'jax', 'torch', 'sklearn', 'matplotlib'}"
    code = f"import sys; sys.path[:] = {sys.path!r}; import {modules}; print({heavy} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"


@pytest.mark.parametrize("file", [fmnist, smoke])
def test_two_reads_of_a_config_are_equal_and_independent(file):
    first, second = file.get_config(), file.get_config()
    assert first.to_dict() == second.to_dict()
    first.model.groups = 1
    first.data.validation = "test"
    assert second.to_dict() == file.get_config().to_dict() != first.to_dict()
