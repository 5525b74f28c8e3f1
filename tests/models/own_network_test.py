"""A network of the user's own, by the real command line: found, checked, trained, searched, kept on record, loaded."""

import itertools
import json
import pathlib
import re
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import gnexp
from gnexp.config import base
from gnexp.config.stored import record
from gnexp.data.load import load
from gnexp.errors import UserError
from gnexp.models import saved
from gnexp.models.build import build
from gnexp.training.loop import Training
from gnexp.workdir import code, files
from tests.support import pages_of_docs

_NETS = """
import keras
from keras import layers

from parts_of_own import block


def residual(inputs, outputs, width=4, drop=0.0):
    x = block(layers.Conv2D(width, 3, 4)(inputs), width)
    x = layers.Dropout(drop)(layers.GlobalAveragePooling2D()(x))
    return keras.Model([inputs], layers.Dense(outputs)(x), name="residual")


class Scaled(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, x):
        return x * self.scale


def nested(inputs, outputs, norm, width=4):
    inside = keras.Input(inputs.shape[1:])
    inner = keras.Model(inside, norm(name="deep")(layers.Conv2D(width, 3, 4)(inside)), name="inner")
    return keras.Model(inputs, layers.Dense(outputs)(Scaled()(layers.Flatten()(norm()(inner(inputs))))))


def sequential(input_shape, num_classes):
    shape = keras.Input(input_shape)
    return keras.Sequential([shape, layers.BatchNormalization(), layers.Flatten(), layers.Dense(num_classes)])


def softmax(inputs, classes):
    return keras.Model(inputs, layers.Softmax()(layers.Dense(classes)(layers.Flatten()(inputs))))


def activated(inputs, classes):
    return keras.Sequential([inputs, layers.Flatten(), layers.Dense(classes, "softmax")])


def shape(outputs):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(inputs)))


def larger(inputs, outputs):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(inputs)))


def seven(inputs):
    return keras.Model(inputs, layers.Dense(7)(layers.Flatten()(inputs)))


class Net(keras.Model):
    def call(self, x):
        return x


def subclassed(inputs, outputs):
    return Net()


def forgotten(inputs, outputs):
    keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(inputs)))


def failing(inputs, outputs):
    return layers.MaxPooling2D(64)(inputs)


def plain(inputs, outputs):
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(inputs)))


class Block(layers.Layer):
    def __init__(self, width, norm, **settings):
        super().__init__(**settings)
        self.dense, self.norm = layers.Dense(width), norm()

    def call(self, x):
        return self.norm(self.dense(x))


def unsaved(inputs, outputs, norm):
    return keras.Model(inputs, layers.Dense(outputs)(Block(4, norm)(layers.Flatten()(inputs))))


class Adds(layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


def penalized(inputs, outputs):
    x = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(outputs)(Adds()(x)))


def scaled(inputs, outputs):
    return keras.Model(inputs, layers.Dense(outputs)(layers.Lambda(lambda x: x / 2)(layers.Flatten()(inputs))))


def required(inputs, outputs, width):
    return plain(inputs, outputs)
"""
_OTHERS = {
    "broken_of_own": "\ndef f(:\n",
    "lacking_of_own": "import nowhere_at_all\n\n\ndef f(inputs, outputs): ...\n",
    "old_of_own": "import tf_keras\n\n\ndef f(inputs, outputs):\n    return tf_keras.Sequential()\n",
    "tf_keras": "class Sequential: ...\n",  # stands for Keras 2
}
_PARTS = """
from keras import layers


def block(x, width):
    y = layers.BatchNormalization(epsilon=0.01)(layers.Conv2D(width, 3, padding="same")(x))
    return layers.Add()([x, layers.ReLU()(y)])
"""
_OF_THE_README = """
import keras
from keras import layers


def unet(inputs, outputs, norm):
    x = layers.GlobalAveragePooling2D()(norm()(layers.Conv2D(8, 3, 4)(inputs)))
    return keras.Model(inputs, layers.Dense(outputs)(x))
"""

_CONFIG = """
from gnexp.config import base
from gnexp.space import choice


def get_config(sweep=""):
    config = base.get_config()
    config.epochs = 1
    config.data.name = "digits"
    config.data.train_size, config.data.validation, config.data.batch_size = 64, 32, 32
    config.model.name = "nets_of_own:residual"
    config.model.groups = 2
    if sweep:
        config.sweep = base.get_sweep()
        config.sweep.tuner, config.sweep.max_trials, config.sweep.executions = "grid", 2, 1
        config.sweep.own_first = False
        config.sweep.space.model.args.width = choice(2, 4)
    return config
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> pathlib.Path:
    """A folder of a user's own: two modules and a config."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in {"nets_of_own": _NETS, "parts_of_own": _PARTS, "mine": _CONFIG, **_OTHERS}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def mine(train_here, own, tmp_path):
    """Runs the command with the user's config, from another folder."""

    def run(*arguments: str, sweep: bool = False):
        return train_here(*arguments, config=f"{own}/mine.py" + (":sweep" if sweep else ""), cwd=tmp_path)

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model.name=nets_of_own:residaul"], ["has no function 'residaul'", "did you mean 'residual'"]),
        (["model.args.widht=3"], ["config.model.args.widht", "did you mean 'width'? It takes width=4, drop=0.0"]),
        (["model.args.width=wide"], ["config.model.args.width=wide", "must be a number"]),
        (["model.args.outputs=3"], ["gnexp itself gives 'outputs'"]),
        (["model.args={'width':7}"], ["config.model.args is a section", "one by one"]),
        (["model.filters=3"], ["config.model.args.filters: 'nets_of_own:residual' has no such argument"]),
        (
            ["model.groups=3"],
            ["config.model.groups=3", "1 of the 1 norms", "(4 channels)", "1, 2, 4", "gcd"],
        ),
        (["model.norm=keep", "model.name=nets_of_own:nested"], ["config.model.norm='keep'", "takes its norms"]),
        (["model.name=nets_of_own:softmax"], ["ends in softmax", "must return logits"]),
        (["model.name=nets_of_own:activated"], ["ends in softmax", "must return logits"]),
        (["model.name=nets_of_own:shape"], ["'inputs', 'input_tensor' or 'input_shape'", "it takes outputs"]),
        (["model.name=nets_of_own:larger"], ["inputs of shape (32, 32, 3)", "the images have (28, 28, 1)"]),
        (["model.name=nets_of_own:seven"], ["(None, 7)", "(None, 10)"]),
        (["model.name=nets_of_own:subclassed"], ["a subclassed keras.Model, Net"]),
        (["model.name=nets_of_own:forgotten"], ["returned None: it must return a keras.Model"]),
        (["model.name=nets_of_own:failing"], ["nets_of_own.py, line ", "ValueError: "]),
        (["model.name=nets_of_own:plain"], ["there is nothing to swap"]),
        (["model.name=nets_of_own:unsaved"], ["'nets_of_own:unsaved' cannot be saved", "get_config"]),
        (["model.name=keras.applications:VGG16"], ["does not build: "]),
        (["model.name=nets_of_own"], ["config.model.name='nets_of_own'", "or 'package.module:function'"]),
        (["model.name=nowhere_of_own:f"], ["there is no module 'nowhere_of_own', neither installed nor in "]),
        (["model.name=broken_of_own:f"], ["broken_of_own.py, line 2: SyntaxError"]),
        (
            ["model.name=lacking_of_own:f"],
            ["lacking_of_own.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"],
        ),
        (
            ["model.name=nets_of_own:required"],
            ["config.model.args.width is missing", "'nets_of_own:required' needs it"],
        ),
        (["model.name=old_of_own:f"], ["returned a tf_keras model, which is Keras 2", "write `import keras`"]),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(mine, tmp_path, arguments, says):
    done = mine(*(f"--config.{argument}" for argument in arguments), f"--workdir={tmp_path}/run")
    assert done.returncode == 2, done.stdout
    said = [
        line for line in done.stderr.splitlines() if line.startswith("gnexp: ")
    ]  # TensorFlow may say something, too
    lines = [line for line in said if not line.startswith("gnexp: note: ")]
    assert len(lines) == 1, done.stderr
    for words in says:
        assert words in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_group_count_of_a_sweep_that_does_not_fit_is_refused_before_the_first_trial(mine):
    done = mine("--config.model.groups=4", sweep=True)
    assert done.returncode == 2
    assert "config.sweep.space has combinations that are not allowed: config.model.groups=4 " in done.stderr
    assert "1 of the 1 norms of 'nets_of_own:residual'" in done.stderr


def test_another_name_takes_no_stale_arguments_along(mine, tmp_path):
    ask = ["--config.model.args.width=8", "--config.model.name=nets_of_own:nested", "--config.epochs=0"]
    assert mine(*ask).stderr.splitlines()[-1].startswith("gnexp: config.epochs=0 ")
    config = base.get_config()
    config.model.args.units = 3
    config.model.name = "resnet"
    assert dict(config.model.args) == {}
    config.model.update(args={"depth": 8}, name="mlp")
    assert dict(config.model.args) == {"depth": 8}


def test_it_is_trained_kept_on_record_and_loaded(mine, own, tmp_path):
    run = tmp_path / "run"
    done = mine("--config.model.name=nets_of_own:nested", "--config.model.args.width=6", f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    assert "network: nets_of_own:nested, " in done.stdout and "parameters" in done.stdout
    assert "2 GroupNormalization, 2 groups of 3 channels" in done.stdout
    assert json.loads((run / "config.json").read_text())["model"]["args"] == {"width": 6}
    (process,) = json.loads((run / files.PROVENANCE).read_text())
    assert process["code"]["model"] == "nets_of_own:nested"
    assert process["code"]["sha256"].keys() == {"nets_of_own.py", "parts_of_own.py"}
    assert (run / files.CODE / "nets_of_own.py").read_text() == (own / "nets_of_own.py").read_text()
    tags = EventAccumulator(str(run / "train")).Reload().Tags()["tensors"]
    assert {"inner/deep/gamma", "inner/deep/beta"} <= set(tags)
    model = saved.load(run)
    assert model.get_layer("inner").get_layer("deep").groups == 2
    images = np.zeros((2, 28, 28, 1), np.uint8)
    assert np.isfinite(keras.ops.convert_to_numpy(model(images))).all()


def test_losses_of_its_layers_count_as_in_keras(own, monkeypatch):
    monkeypatch.syspath_prepend(own)
    config = base.get_config()
    config.data.name, config.data.train_size, config.data.validation = "digits", 32, 600
    config.model.name, config.model.norm = "nets_of_own:penalized", "keep"
    splits = load(config.data)
    training = Training(record(config, "digits"), splits)
    (epoch,) = itertools.islice(training.epochs(), 1)
    training.model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    theirs = training.model.evaluate(splits.validation.inputs, splits.validation.targets, batch_size=500, verbose=0)
    assert epoch["val_loss"] == pytest.approx(theirs, rel=1e-5)
    config.precision = "mixed_bfloat16"  # in which Keras itself cannot add them
    (epoch,) = itertools.islice(Training(record(config, "digits"), splits).epochs(), 1)
    assert np.isfinite(epoch["val_loss"])


@pytest.mark.any_backend
def test_a_layer_of_python_code_is_loaded_by_whoever_trusts_the_file(mine, tmp_path):
    run = tmp_path / "run"
    done = mine("--config.model.name=nets_of_own:scaled", "--config.model.norm=keep", f"--workdir={run}")
    assert done.returncode == 0, done.stderr
    with pytest.raises(UserError, match="safe_mode=False"):
        gnexp.load(run)
    assert gnexp.load(run, safe_mode=False).output_shape == (None, 10)


@pytest.mark.any_backend
def test_a_sweep_over_its_arguments_goes_on_only_with_the_same_code(mine, own, tmp_path):
    run = tmp_path / "sweep"
    done = mine("--config.sweep.max_trials=1", f"--workdir={run}", sweep=True)
    assert done.returncode == 0, done.stderr
    former = (own / "parts_of_own.py").read_text()
    (own / "parts_of_own.py").write_text(former + "# changed\n")
    try:
        refused = mine(f"--workdir={run}", sweep=True)
        assert refused.returncode == 2
        assert "parts_of_own.py has changed" in refused.stderr
        done = mine(f"--workdir={run}", "--allow_changed_code", sweep=True)
    finally:
        (own / "parts_of_own.py").write_text(former)
    assert done.returncode == 0, done.stderr
    assert re.search(r"trial 0001 .* model\.args\.width=4", done.stdout)
    (change,) = json.loads((run / files.CODE / files.CODE_CHANGES).read_text())
    assert change["changes"] == ["parts_of_own.py has changed"]


_BY_NAME = """
import importlib

import keras


def build(inputs, outputs):
    x = importlib.import_module("helper_of_own").Twice()(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(x))
"""
_HELPER = """
import keras


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.mark.any_backend
def test_a_module_that_is_imported_by_a_name_is_kept_compared_and_loaded(mine, own, tmp_path, monkeypatch):
    (own / "by_name_of_own.py").write_text(_BY_NAME)
    (own / "helper_of_own.py").write_text(_HELPER)
    ask = ["--config.model.name=by_name_of_own:build", "--config.model.norm=keep", f"--workdir={tmp_path}/run"]
    done = mine(*ask)
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "run" / files.CODE
    assert {path.name for path in kept.iterdir()} == {"by_name_of_own.py", "helper_of_own.py"}
    (process,) = json.loads((tmp_path / "run" / files.PROVENANCE).read_text())
    assert "helper_of_own.py" in process["code"]["sha256"]
    run, config = tmp_path / "run", {"model": {"name": "by_name_of_own:build"}}
    monkeypatch.setattr(sys, "path", [*sys.path, str(own)])
    assert code.changes(run, code.of(config, run), False) == []
    (own / "helper_of_own.py").write_text(_HELPER + "# changed\n")
    assert code.changes(run, code.of(config, run), True) == ["helper_of_own.py has changed"]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(own)])
    for name in ("by_name_of_own", "helper_of_own"):
        sys.modules.pop(name)
    assert gnexp.load(tmp_path / "run").output_shape == (None, 10)
    (kept / "helper_of_own.py").write_text("import nowhere_at_all\n")
    with pytest.raises(UserError, match=r"cannot be loaded: .*helper_of_own\.py, line 1: Mod"):
        gnexp.load(tmp_path / "run")


@pytest.mark.any_backend
def test_a_machine_without_the_users_folder_imports_from_the_workdir(own, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(own)])
    config = {"model": {"name": "nets_of_own:residual"}}
    code.keep(tmp_path, code.of(config), [])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(own)])
    code.use(tmp_path, config, ["/nowhere/at/all"])
    assert code.of(config).files["nets_of_own.py"].is_relative_to(tmp_path)
    (tmp_path / files.CODE / "parts_of_own.py").write_text("")
    assert code.changes(tmp_path, code.of(config), False) == []


def test_a_function_without_a_norm_has_its_batch_normalization_swapped(own, monkeypatch):
    monkeypatch.syspath_prepend(own)
    config = base.get_config()
    config.model.name, config.model.groups = "nets_of_own:residual", 2
    (norm,) = [each for each in build(config.model, (28, 28, 1), 10).layers if hasattr(each, "gamma")]
    assert (type(norm).__name__, norm.groups) == ("GroupNormalization", 2)
    config.model.norm = "keep"
    (norm,) = [each for each in build(config.model, (28, 28, 1), 10).layers if hasattr(each, "gamma")]
    assert (type(norm).__name__, norm.epsilon) == ("BatchNormalization", 0.01)
    config.model.name, config.model.norm = "nets_of_own:sequential", "layer"
    assert build(config.model, (8, 8, 1), 10).output_shape == (None, 10)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel is for TensorFlow")
def test_the_fast_paths_serve_a_nested_network(own, monkeypatch):
    from gnexp.norms import native

    if native.load() is None:
        pytest.skip("there is no kernel here")
    monkeypatch.syspath_prepend(own)
    config = base.get_config()
    config.data.name, config.data.train_size, config.data.validation = "digits", 32, 32
    config.model.name, config.model.groups = "nets_of_own:nested", 2
    config = record(config, "digits")
    training = Training(config, load(config.data))
    norms = [layer for layer in training.model._flatten_layers() if type(layer).__name__ == "GroupNormalization"]
    assert len(norms) == 2
    assert all(norm.kernel is native.load() for norm in norms)
    assert type(training.model.optimizer).__module__ == "gnexp.training.fused_optimizers"


@pytest.mark.any_backend
def test_the_readme_asks_of_ones_own_network_and_images(train_here, tmp_path):
    (text,) = pages_of_docs.blocks("README.md", "python notest")
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "nets.py").write_text(_OF_THE_README)
    random = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "flowers" / ("rose", "tulip")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (120, 100, 3), np.uint8)).save(path)
    done = train_here("--dry_run", "--config.data.batch_size=8", config=f"{tmp_path}/mine.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The report will compare the combinations of model.norm on test figures" in done.stdout
    assert "About " in done.stdout and not (tmp_path / "runs").exists()


_KEPT_BY_ITS_MODULE = """
import keras

inside = keras.Input((28, 28, 1))
half = keras.initializers.Constant(0.5)
BASE = keras.Model(inside, keras.layers.Conv2D(4, 3, 4, kernel_initializer=half, name="kept")(inside))


def transfer(inputs, outputs):
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(BASE(inputs))))


frozen = keras.layers.Conv2D(4, 3, 4, name="frozen")
frozen.build((None, 28, 28, 1))
frozen.trainable = False
kept = []


def on_frozen(inputs, outputs):
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(frozen(inputs))))


def once(inputs, outputs):
    if not kept:
        kept.append(keras.Sequential([inputs, keras.layers.Flatten(), keras.layers.Dense(outputs)]))
    return kept[0]


def afresh(inputs, outputs):
    x = keras.layers.BatchNormalization()(BASE(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(x)))
"""


@pytest.mark.any_backend
def test_weights_that_a_module_loads_are_trained_and_not_shared_between_trainings(mine, own, tmp_path):
    (own / "keeps_of_own.py").write_text(_KEPT_BY_ITS_MODULE)
    slow = ["--config.optimizer.learning_rate=1e-8", "--config.schedule.name=constant", "--config.epochs=1"]
    done = mine("--config.model.name=keeps_of_own:afresh", *slow, f"--workdir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    (kernel,) = [each.kernel for each in saved.load(tmp_path / "run")._flatten_layers() if each.name == "kept"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 0.5, atol=1e-4)
    for name in ("transfer", "once"):
        done = mine(f"--config.model.name=keeps_of_own:{name}", "--config.model.norm=keep", f"--workdir={tmp_path}/no")
        assert done.returncode == 2 and not (tmp_path / "no").exists()
        assert f"'keeps_of_own:{name}' returned layers that an earlier call of it had returned" in done.stderr
    done = mine("--config.model.name=keeps_of_own:on_frozen", "--config.model.norm=keep", *slow)
    assert done.returncode == 0, done.stderr
