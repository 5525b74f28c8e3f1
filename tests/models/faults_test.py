"""Networks of the user's own that cannot be trained, or not as they are: what the check before the first step says."""

import keras
import pytest

from gnexp.config import base
from gnexp.config.stored import record
from gnexp.data.load import load
from gnexp.errors import FunctionError
from gnexp.models.build import build
from gnexp.training.check import check

_NETS = """
import keras
from keras import layers, ops


class OwnCall(keras.Model):
    def call(self, x, training=None, mask=None):
        return 0 * super().call(x)


class OwnStep(keras.Model):
    def train_step(self, data): ...


def _body(x, **settings):
    return layers.Flatten()(layers.BatchNormalization(**settings)(layers.Conv2D(4, 3, 4)(x)))


def named(inputs, outputs):
    x = layers.Activation("relu", name="images")(layers.Rescaling(2.0, name="rescaling")(inputs))
    x = layers.Activation("linear", name="gnexp_images")(x)
    return keras.Model(inputs, layers.Activation("linear", name="in_float32")(layers.Dense(outputs)(_body(x))))


def spaced(inputs, outputs):
    return keras.Model(inputs, layers.Dense(outputs)(_body(inputs)), name="of two words")


def spaced_layer(inputs, outputs):
    return keras.Model(inputs, layers.Dense(outputs, name="the head")(_body(inputs)))


def own_call(inputs, outputs):
    return OwnCall(inputs, layers.Dense(outputs)(_body(inputs)))


def own_step(inputs, outputs):
    return OwnStep(inputs, layers.Dense(outputs)(_body(inputs)))


def inner_call(inputs, outputs):
    inside = keras.Input((6, 6, 4))
    x = OwnCall(inside, layers.BatchNormalization()(inside), name="inner")(layers.Conv2D(4, 7, 4)(inputs))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(x)))


def frozen(inputs, outputs):
    model = spaced(inputs, outputs)
    model.trainable = False
    return model


def stopped(inputs, outputs):
    return keras.Model(inputs, ops.stop_gradient(layers.Dense(outputs)(_body(inputs))))


def chosen(inputs, outputs):
    return keras.Model(inputs, ops.one_hot(ops.argmax(layers.Dense(outputs)(_body(inputs)), -1), outputs))


def _within(inputs, outputs, layer):
    return keras.Model(inputs, layers.Dense(outputs)(layer(_body(inputs))))


class Times(layers.Layer):
    def __init__(self, factor, **settings):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super().get_config()


def incomplete(inputs, outputs):
    return _within(inputs, outputs, Times(2))


def with_own_norm(inputs, outputs):
    x = layers.GroupNormalization(3)(layers.Conv2D(6, 3, 4)(inputs))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(layers.BatchNormalization()(layers.Dense(8)(x)))))


def hidden(inputs, outputs):
    class Inside(layers.Layer):
        def call(self, x):
            return 2 * x

    return _within(inputs, outputs, Inside())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of networks."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "nets_of_faults.py").write_text(_NETS)
    return folder


@pytest.fixture
def checked(folder, monkeypatch):
    """Gives a function that checks the config of a network, with other settings."""

    def run(name: str, **settings):
        monkeypatch.syspath_prepend(folder)
        config = base.get_config()
        config.data.name, config.data.train_size, config.data.validation = "digits", 32, 32
        config.model.name, config.model.groups = f"nets_of_faults:{name}", 2
        config.update_from_flattened_dict(settings)
        return check(record(config, "digits"), load(config.data))

    return run


def test_layers_may_have_the_names_that_gnexp_has_for_its_own(folder, checked, monkeypatch):
    names = [layer.name for layer in checked("named").layers]
    assert names[:2] == ["gnexp_images_1", "gnexp_rescaling"] and "images" in names
    assert [layer.name for layer in checked("spaced").layers][:2] == ["images", "rescaling"]
    config = base.get_config()
    config.model.name, config.model.groups = "nets_of_faults:named", 2
    assert build(config.model, (28, 28, 1), 10, "mixed_bfloat16").layers[-1].name == "gnexp_in_float32"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_call", "a model whose class, OwnCall, has its own call()"),
        ("frozen", "a model with nothing to train"),
        ("stopped", "cannot learn: its outputs have no gradient for any of its weights, .*conv2d/kernel, "),
        ("chosen", "cannot learn: its outputs have no gradient"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(checked, name, says):
    with pytest.raises(FunctionError, match=f"^config.model.name='nets_of_faults:{name}' returned ") as error:
        checked(name)
    error.match(says)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_step", ["returned a model whose class, OwnStep, has its own train_step, which is not used"]),
        ("inner_call", ["inner is copied as a plain model: OwnCall's own call is not copied"]),
        ("spaced", []),
    ],
)
def test_what_is_not_trained_as_it_is_is_said_once(checked, capsys, name, says):
    checked(name)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gnexp: note: ")]
    assert len(lines) == len(says)
    assert all(words in line for words, line in zip(says, lines, strict=True))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has rules for names")
def test_a_name_that_tensorflow_does_not_allow_is_refused_of_a_layer_and_changed_of_a_model(checked):
    assert checked("spaced").name == "group_of_two_words"
    with pytest.raises(FunctionError, match="a layer named 'the head', which TensorFlow does not allow"):
        checked("spaced_layer")


@pytest.mark.parametrize(
    ("name", "says"),
    [("incomplete", "missing 1 required positional argument: 'factor'"), ("hidden", "Could not locate class 'Inside'")],
)
def test_a_layer_that_could_not_be_loaded_is_refused_before_the_first_step(checked, monkeypatch, name, says):
    keep = {"model.norm": "keep"}
    with pytest.raises(FunctionError, match="cannot be saved and loaded again") as error:
        checked(name, **keep)
    error.match(says)
    assert len(str(error.value)) < 350 and "\n" not in str(error.value)


def test_the_norms_that_a_network_has_of_its_own_may_have_other_groups(checked):
    groups = {layer.name: layer.groups for layer in checked("with_own_norm", **{"model.groups": 4}).layers[3:6:2]}
    assert sorted(groups.values()) == [3, 4]
