"""`swap` on models of every shape: what is replaced, what is copied, what is refused."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

from gnexp.group_normalization import GroupNormalization
from gnexp.norms import swap, table
from gnexp.norms.by_name import FrozenBatchNormalization
from gnexp.norms.fitted import FittedGroupNormalization
from gnexp.norms.ghost_batch import GhostBatchNormalization
from gnexp.norms.scalar_instance import ScalarInstanceNormalization

SIZE = (8, 8, 8)


def as_array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def images(count: int = 2, shape=SIZE) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")


def randomized(model: keras.Model) -> keras.Model:
    """Gives each weight a random value of 0.5 to 1.5: what is not copied shows."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def of_type(model: keras.Model, kind: type) -> list[layers.Layer]:
    return [layer for _, layer in table.walk(model) if isinstance(layer, kind)]


def block(x, name: str):
    x = layers.Conv2D(8, 3, padding="same", name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def functional(name: str = "net", shape=SIZE) -> keras.Model:
    inputs = keras.Input(shape, name=f"{name}_in")
    x = block(inputs, f"{name}_1")
    x = layers.Add(name=f"{name}_add")([x, inputs])
    return keras.Model(inputs, block(x, f"{name}_2"), name=name)


def sequential() -> keras.Model:
    return keras.Sequential(
        [keras.Input(SIZE), layers.Conv2D(8, 1, name="conv"), layers.BatchNormalization()], name="seq"
    )


def nested() -> keras.Model:
    """A Sequential in a functional in a Sequential, with layers of the same names at several levels."""
    inputs = keras.Input(SIZE, name="inner_in")
    inner = keras.Model(inputs, block(sequential()(inputs), "net_1"), name="inner")
    return keras.Sequential(
        [keras.Input(SIZE), functional(), inner, layers.BatchNormalization(name="last")], name="outer"
    )


def shared() -> keras.Model:
    """One layer twice, and one model twice."""
    inputs = keras.Input(SIZE, name="shared_in")
    norm, encoder = layers.BatchNormalization(name="norm"), functional("encoder")
    x = layers.Add()([norm(inputs), norm(layers.ReLU()(inputs))])
    return keras.Model(inputs, layers.Concatenate()([encoder(x), encoder(inputs)]), name="sharing")


def over_time() -> keras.Model:
    inner = keras.Sequential([keras.Input((8, 8)), layers.BatchNormalization(name="deep")], name="step")
    inputs = keras.Input(SIZE, name="frames")
    x = layers.TimeDistributed(layers.BatchNormalization(name="bn"), name="each")(inputs)
    return keras.Model(inputs, layers.TimeDistributed(inner, name="steps")(x), name="film")


def with_operations() -> keras.Model:
    inputs = keras.Input(SIZE, name="ops_in")
    x = layers.BatchNormalization(name="bn")(inputs)
    x = layers.Lambda(lambda x: x * 2, name="double")(keras.ops.relu(x) + 1)
    return keras.Model(inputs, x, name="ops")


CASES = {
    functional: ["net_1_bn", "net_2_bn"],
    sequential: ["batch_normalization"],
    nested: ["net/net_1_bn", "net/net_2_bn", "inner/seq/batch_normalization", "inner/net_1_bn", "last"],
    shared: ["norm", "encoder/encoder_1_bn", "encoder/encoder_2_bn"],
    over_time: ["each/bn", "steps/step/deep"],
    with_operations: ["bn"],
}


@pytest.fixture(autouse=True)
def plain_names():
    keras.backend.clear_session()


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch):
    """Starts every kernel at zero, because JAX takes seconds to compile a random initializer for each shape."""
    monkeypatch.setattr(
        keras.initializers.GlorotUniform, "__call__", lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    )


@pytest.mark.parametrize("build", CASES)
def test_every_norm_is_swapped_and_every_weight_copied(build, tmp_path):
    before = randomized(build())
    weights = {id(weight): as_array(weight) for weight in before.weights}
    after = swap(before, groups=4)
    assert [row.path for row in table.rows(after)] == [row.path for row in table.rows(before)] == CASES[build]
    assert {row.layer for row in table.rows(after)} == {"GroupNormalization"}
    assert all(row.groups == 4 and row.channels_per_group == 2 for row in table.rows(after))
    kept = [weight for weight in before.weights if not weight.name.startswith("moving_")]
    assert sorted(weight.path for weight in after.weights) == sorted(weight.path for weight in kept)
    for old, new in _paired(before, after):
        np.testing.assert_array_equal(as_array(old), as_array(new))
        assert old is not new
    for weight in before.weights:
        np.testing.assert_array_equal(as_array(weight), weights[id(weight)])
    # As built with the other norm at once: the weights are where they belong.
    x = images()
    expected = as_array(_built_with_groups(build)(x))
    np.testing.assert_allclose(as_array(after(x)), expected, rtol=1e-5, atol=1e-5)
    if build is not with_operations:  # Keras loads no Python function.
        after.save(tmp_path / "after.keras")
        np.testing.assert_array_equal(
            as_array(keras.models.load_model(tmp_path / "after.keras")(x)), as_array(after(x))
        )


def _paired(before, after):
    """Yields the variables of the same layer and name, found by the layers' paths and not by the order of weights."""

    def own(layer):
        return {weight.name: weight for weight in layer._trainable_variables + layer._non_trainable_variables}

    layers_after = dict(table.walk(after))
    for path, layer in table.walk(before):
        for name, weight in own(layer).items():
            if not name.startswith("moving_"):
                yield weight, own(layers_after[path])[name]


def _built_with_groups(build) -> keras.Model:
    """Returns what a function builds if its norms are group norms from the beginning, with the weights of the other."""
    before, original = randomized(build()), layers.BatchNormalization
    layers.BatchNormalization = lambda **settings: GroupNormalization(4, epsilon=1e-3, **settings)
    try:
        keras.backend.clear_session()
        built = build()
    finally:
        layers.BatchNormalization = original
    kept = [as_array(weight) for weight in before.weights if not weight.name.startswith("moving_")]
    built.set_weights(kept)
    return built


def test_plain_clone_model_takes_the_layer():
    before = functional()

    def clone(layer):
        if isinstance(layer, layers.BatchNormalization):
            return GroupNormalization(4, name=layer.name)
        return type(layer).from_config(layer.get_config())

    after = keras.models.clone_model(before, clone_function=clone)
    assert [type(layer) for layer in after.layers].count(GroupNormalization) == 2
    assert np.isfinite(as_array(after(images()))).all()


def test_what_the_old_norm_was_told_is_told_to_the_new():
    told = {
        "axis": 1,
        "center": True,
        "scale": True,
        "epsilon": 0.25,
        "gamma_initializer": keras.initializers.Constant(0.5),
        "beta_initializer": "ones",
        "gamma_regularizer": keras.regularizers.L2(0.1),
        "beta_regularizer": keras.regularizers.L1(0.2),
        "gamma_constraint": keras.constraints.NonNeg(),
        "beta_constraint": keras.constraints.MaxNorm(1.0),
        "dtype": "mixed_bfloat16",
        "trainable": False,
        "name": "told",
    }
    old = layers.BatchNormalization(**told)
    after = swap(keras.Sequential([keras.Input((4, 6, 6)), old]), groups=2)
    new = after.get_layer("told").get_config()
    assert {key: new[key] for key in told} == {key: old.get_config()[key] for key in told}
    assert swap(keras.Sequential([keras.Input((4, 6, 6)), old]), groups=2, epsilon=1e-4).layers[0].epsilon == 1e-4
    bare = layers.BatchNormalization(center=False, scale=False)
    assert not swap(keras.Sequential([keras.Input((6, 6, 4)), bare]), groups=2).weights


ALL = ("group", "layer", "instance", "instance_scalar", "batch", "frozen_batch", "ghost_batch", "none")


@pytest.mark.any_backend
@pytest.mark.parametrize("norm", ALL)
def test_outputs_are_regularized_as_before(norm):
    before = keras.Sequential([keras.Input(SIZE), layers.BatchNormalization(activity_regularizer="l2")])
    after, x = swap(before, norm, groups=4), images()
    outputs = as_array(after(x)).astype(np.float64)
    np.testing.assert_allclose(as_array(after.losses[0]), 0.01 * (outputs**2).sum() / len(x), rtol=1e-4)


@pytest.mark.parametrize("norm", ALL)
@pytest.mark.parametrize("setting", ["renorm", "synchronized"])
def test_what_only_keras_s_own_layer_can_is_kept_or_said(norm, setting):
    if (setting, keras.backend.backend()) == ("synchronized", "jax"):
        pytest.skip("Keras has it for TensorFlow only")
    told = {setting: True, "renorm_clipping": {"rmax": 3.0}, "renorm_momentum": 0.5}
    before = keras.Sequential([keras.Input(SIZE), layers.BatchNormalization(name="bn", **told)])
    said = pytest.warns(UserWarning, match=f"{setting}=True of bn is not copied: {norm} has none")
    kept = norm in ("batch", "frozen_batch")
    with contextlib.nullcontext() if kept else said:
        after = swap(before, norm, groups=4)
    if kept:
        found = after.get_layer("bn").get_config()
        assert {key: found[key] for key in told} == told


def test_what_is_frozen_stays_frozen():
    before = nested()
    before.layers[0].trainable = False
    before.get_layer("inner").get_layer("net_1_bn").trainable = False
    after = swap(before, groups=4)
    for (_, old), (_, new) in zip(table.walk(before), table.walk(after), strict=True):
        assert old.trainable == new.trainable
    gone = sum(weight.name.startswith("moving_") for weight in before.non_trainable_weights)
    assert len(after.trainable_weights) == len(before.trainable_weights)
    assert len(after.non_trainable_weights) == len(before.non_trainable_weights) - gone


@pytest.mark.parametrize(
    ("norm", "kind", "left"),
    [
        ("layer", GroupNormalization, {"gamma", "beta"}),
        ("instance", GroupNormalization, {"gamma", "beta"}),
        ("instance_scalar", ScalarInstanceNormalization, set()),
        ("none", layers.Identity, set()),
        ("batch", layers.BatchNormalization, {"gamma", "beta", "moving_mean", "moving_variance"}),
        ("frozen_batch", FrozenBatchNormalization, {"gamma", "beta", "moving_mean", "moving_variance"}),
        ("ghost_batch", GhostBatchNormalization, {"gamma", "beta", "moving_mean", "moving_variance"}),
    ],
)
@pytest.mark.parametrize("build", [functional, nested])
def test_every_norm_can_take_the_place(build, norm, kind, left, tmp_path):
    before = randomized(build())
    after = swap(before, norm=norm)
    norms = [dict(table.walk(after))[row.path] for row in table.rows(before)]
    assert {type(layer) for layer in norms} == {kind}
    assert all(layer.trainable == (norm != "frozen_batch") for layer in norms)
    for row, layer in zip(table.rows(before), norms, strict=True):
        values = {weight.name: as_array(weight) for weight in dict(table.walk(before))[row.path].weights}
        for weight in layer.weights:
            assert np.array_equal(as_array(weight), values[weight.name]) == (weight.name in left)
    if "batch" in norm:
        np.testing.assert_allclose(as_array(after(images())), as_array(before(images())), rtol=1e-5, atol=1e-5)
    assert np.isfinite(as_array(after(images(), training=True))).all()
    after.save(tmp_path / "after.keras")
    loaded = keras.saving.load_model(tmp_path / "after.keras")
    np.testing.assert_array_equal(as_array(loaded(images())), as_array(after(images())))


def test_groups_are_found_where_channels_are_known():
    before = keras.Sequential([keras.Input((4, 4, 24)), layers.BatchNormalization(), layers.Conv2D(11, 1)])
    before.add(layers.BatchNormalization())
    assert [row.groups for row in table.rows(swap(before, fit="gcd"))] == [8, 1]
    rows = table.rows(swap(before, channels_per_group=3, fit="gcd"))
    assert [(row.groups, row.channels_per_group) for row in rows] == [(8, 3), (11, 1)]
    with pytest.raises(ValueError, match=r"1 of 2 norms: batch_normalization_1 \(8 groups do not divide 11"):
        swap(before, groups=8)


def test_an_unbuilt_model_finds_its_groups_when_it_is_built():
    after = swap(keras.Sequential([layers.Conv2D(24, 3), layers.BatchNormalization()]), fit="gcd")
    assert type(after.layers[1]) is FittedGroupNormalization
    after(images())
    assert table.rows(after)[0].groups == 8


def test_a_model_that_was_built_late_keeps_its_weights():
    before = keras.Sequential([layers.Conv2D(24, 3), layers.BatchNormalization()])
    before(images())
    randomized(before)
    after = swap(before, groups=8)
    np.testing.assert_array_equal(after.get_weights()[2], before.get_weights()[2])
    assert len(after.get_weights()) == 4


def test_training_a_copy_leaves_the_model_as_it_was():
    model = randomized(functional())
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    before = model.predict(x, verbose=0)
    copy = swap(model, norm="layer")
    copy.compile("sgd", "mse")
    copy.fit(x, np.zeros((4, *copy.output_shape[1:]), "float32"), verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


def test_the_compile_arguments_are_kept():
    before = functional()
    before.compile(keras.optimizers.SGD(0.5), "mse")
    after = swap(before, groups=4)
    assert after.optimizer is not before.optimizer
    assert float(as_array(after.optimizer.learning_rate)) == 0.5
    after.fit(images(), images(), epochs=1, verbose=0)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras cannot find by its name."""

    def __call__(self, step):
        """Returns the learning rate."""
        return 0.25

    def get_config(self):
        """Returns nothing."""
        return {}


class Descent(keras.optimizers.SGD):
    """An optimizer that Keras cannot find by its name."""


def dense() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), layers.Dense(8, name="dense"), layers.BatchNormalization()], name="net")


def test_what_keras_cannot_find_by_name_is_compiled_again():
    before, seen = dense(), keras.metrics.MeanMetricWrapper(lambda true, found: found**2, "seen")
    before.compile(Descent(Schedule()), lambda true, found: keras.ops.abs(true - found), metrics=[seen])
    x = images(4, (8,))
    expected = before.evaluate(x, x, verbose=0)
    after = swap(before, "batch")
    assert before.compiled
    assert after.evaluate(x, x, verbose=0) == expected
    assert type(after.optimizer) is Descent
    assert after.optimizer is not before.optimizer
    assert float(as_array(after.optimizer.learning_rate)) == 0.25


def test_an_inner_model_that_is_compiled_is_copied_without():
    inner = dense()
    inner.compile(loss=lambda true, found: found)
    before = keras.Sequential([keras.Input((8,)), inner, layers.BatchNormalization()])
    after = swap(before, "batch")
    assert (inner.compiled, after.compiled) == (True, False)


def test_an_optimizer_that_cannot_be_copied_is_said():
    class Fixed(keras.optimizers.SGD):
        def __init__(self):
            super().__init__(0.5)

    before = dense()
    before.compile(Fixed(), "mse")
    with pytest.warns(UserWarning, match="net is copied without its compile arguments: TypeError: .*Fixed"):
        after = swap(before, "batch")
    assert (before.compiled, after.compiled) == (True, False)


@keras.saving.register_keras_serializable(package="swap_test")
class Block(layers.Layer):
    """A layer with a norm of its own, which nobody outside can replace."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.conv, self.bn = layers.Conv2D(8, 1, name="conv"), layers.BatchNormalization(name="bn")

    def call(self, inputs, training=None):
        """Returns the outputs of the norm."""
        return self.bn(self.conv(inputs), training=training)


def test_norms_inside_of_other_layers_are_refused_by_their_paths():
    before = keras.Sequential([keras.Input(SIZE), Block(name="one"), layers.BatchNormalization(name="free"), Block()])
    with pytest.raises(ValueError, match=r"2 of the 3 .*: one/bn, block/bn\. "):
        swap(before, groups=4)


def test_other_layers_with_layers_inside_are_copied_whole():
    @keras.saving.register_keras_serializable(package="swap_test")
    class Plain(layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.conv, self.dense = layers.Conv2D(8, 1), layers.Dense(8)

        def build(self, input_shape):
            self.conv.build(input_shape)
            self.dense.build(self.conv.compute_output_shape(input_shape))

        def call(self, inputs):
            return self.dense(self.conv(inputs))

    before = randomized(
        keras.Sequential([keras.Input(SIZE), Plain(name="plain"), layers.BatchNormalization(name="bn")])
    )
    before.get_layer("plain").conv.trainable = False
    after = swap(before, groups=4)
    old, new = before.get_layer("plain"), after.get_layer("plain")
    assert (new.conv.trainable, new.dense.trainable) == (False, True)
    for value, expected in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


@keras.saving.register_keras_serializable(package="swap_test")
class Feedforward(layers.Layer):
    """A layer with unnamed ones inside, and no `get_config`: a copy and what it holds have other names."""

    def __init__(self, width=8, **settings):
        super().__init__(**settings)
        self.inner = keras.Sequential([layers.Dense(width, activation="relu"), layers.Dense(4)])

    def call(self, inputs):
        """Returns the outputs of the inner model."""
        return self.inner(inputs)


def test_layers_whose_copies_have_other_names_are_copied_whole():
    before = keras.Sequential([keras.Input(SIZE), layers.Dense(4), Feedforward(), layers.BatchNormalization()])
    before = randomized(keras.Sequential([before, Feedforward(6), layers.Dense(2)]))
    after = swap(before, "batch")
    assert [layer.name for layer in after.layers] == [layer.name for layer in before.layers]
    np.testing.assert_array_equal(as_array(after(images())), as_array(before(images())))


@keras.saving.register_keras_serializable(package="swap_test")
class Twin(layers.Layer):
    """Holds a model, which others may use as well; a copy by config has one of its own."""

    def __init__(self, inner, **settings):
        super().__init__(**settings)
        self.inner = inner

    def get_config(self):
        """Returns the layer's config."""
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        """Returns a new layer."""
        return cls(keras.saving.deserialize_keras_object(config.pop("inner")), **config)

    def call(self, inputs):
        """Returns the outputs of the inner model."""
        return self.inner(inputs)


def test_a_model_inside_of_a_copied_layer_has_its_weights_although_others_use_it():
    net, inputs = keras.Sequential([layers.Dense(4), layers.Dense(3)]), keras.Input(SIZE)
    both = layers.Add()([net(inputs), Twin(net)(inputs)])
    before = randomized(keras.Model(inputs, layers.BatchNormalization()(both)))
    np.testing.assert_array_equal(as_array(swap(before, "batch")(images())), as_array(before(images())))


class Sum(layers.Layer):
    """Adds a second input, if there is one."""

    def call(self, first, second=None):
        """Returns the sum."""
        return first if second is None else first + second


@pytest.mark.any_backend
def test_an_input_that_may_be_missing_may_be_missing_in_a_copy():
    first, second = keras.Input((8,), name="first"), keras.Input((8,), name="second", optional=True)
    before = randomized(keras.Model([first, second], layers.BatchNormalization()(Sum()(first, second))))
    after, x = swap(before, "batch"), images(2, (8,))
    for given in ([x, None], [x, x]):
        np.testing.assert_array_equal(as_array(after(given)), as_array(before(given)))


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__(name="mine")
        self.bn = layers.BatchNormalization()

    def call(self, inputs):
        """Returns the outputs of the norm."""
        return self.bn(inputs)


def test_a_subclassed_model_is_refused():
    before = Subclassed()
    before(images())
    with pytest.raises(ValueError, match=r"mine is a subclassed model \(Subclassed\)"):
        swap(before)


class OwnStep(keras.Model):
    """A functional model with its own training step."""

    def train_step(self, *arguments):
        """Takes a step."""
        return super().train_step(*arguments)


def test_what_a_copy_loses_is_said():
    inner = functional()
    before = OwnStep(inner.inputs, inner.outputs, name="own")
    with pytest.warns(UserWarning, match="own is copied .*OwnStep's own train_step"):
        after = swap(before, groups=4)
    assert isinstance(after, keras.Model)


@pytest.mark.parametrize(
    ("rest", "said"),
    [([], "no other norm"), ([layers.LayerNormalization], "its norms are LayerNormalization")],
)
def test_a_model_without_batch_normalization_has_nothing_to_swap(rest, said):
    before = keras.Sequential([keras.Input(SIZE), layers.Conv2D(4, 1), *(kind() for kind in rest)])
    with pytest.raises(ValueError, match=f"there is nothing to swap: .*{said}"):
        swap(before)


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (lambda: [keras.Input((6,)), layers.Dense(4), layers.BatchNormalization(name="bn")], {"fit": "gcd"}),
        (lambda: [keras.Input((3, 3, 6)), layers.Conv2D(8, 3), layers.BatchNormalization(name="bn")], {"groups": -1}),
    ],
)
def test_a_group_of_one_value_is_refused(build, settings):
    """Its output is beta for every input, without an error anywhere."""
    with pytest.raises(ValueError, match=r"output is the same for every input: bn \(\d channels, \d groups\)"):
        swap(keras.Sequential(build()), **settings)


def test_a_group_of_a_few_values_is_said():
    before = keras.Sequential([keras.Input((6,)), layers.Dense(8), layers.BatchNormalization(name="bn")])
    with pytest.warns(UserWarning, match=r"fewer than 8 values in a group: bn \(8 channels, 2 groups\)"):
        swap(before, groups=2)


@pytest.mark.parametrize(
    "arguments", [{"norm": "keep"}, {"norm": "gn"}, {"fit": "nearest"}, {"groups": 0}, {"epsilon": 0}]
)
def test_a_wrong_argument_is_refused_by_its_name(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        swap(sequential(), **arguments)


def test_the_table_tells_what_is_normalized_together():
    model = keras.Sequential(
        [
            keras.Input((4, 5, 6)),
            GroupNormalization(2, name="group"),
            keras.layers.GroupNormalization(-1, name="keras"),
            layers.BatchNormalization(name="batch"),
            layers.LayerNormalization(name="layer"),
            ScalarInstanceNormalization(name="scalar"),
            Block(name="block"),
        ]
    )
    rows = {row.path: (row.layer, row.channels, row.groups, row.channels_per_group, row.values_per_group)
            for row in table.rows(model)}  # fmt: skip
    assert rows == {
        "group": ("GroupNormalization", 6, 2, 3, 60),
        "keras": ("GroupNormalization", 6, 6, 1, 20),
        "batch": ("BatchNormalization", 6, None, None, None),
        "layer": ("LayerNormalization", 6, None, None, None),
        "scalar": ("ScalarInstanceNormalization", 6, 1, 6, 120),
        "block/bn": ("BatchNormalization", 8, None, None, None),
    }
    assert table.summary(table.rows(model)[:2]) == "2 GroupNormalization, 2 to 6 groups of 1 to 3 channels"
    assert "block/bn" in table.text(table.rows(model))


def test_a_layer_used_at_several_sizes_counts_at_the_smallest():
    inputs, norm = keras.Input((8, 8, 4)), GroupNormalization(2, name="norm")
    outputs = norm(layers.MaxPooling2D(4)(norm(inputs)))
    assert table.rows(keras.Model(inputs, outputs))[0].values_per_group == 2 * 2 * 2


def test_mobilenet_is_swapped_whole():
    before = randomized(keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=4))
    with pytest.warns(UserWarning, match="fewer than 8 values"):
        after = swap(before, groups=16, fit="gcd")
    rows = table.rows(after)
    assert len(rows) == 52
    assert {row.layer for row in rows} == {"GroupNormalization"}
    assert {layer.epsilon for layer in of_type(after, GroupNormalization)} == {1e-3}
    kept = {weight.path: as_array(weight) for weight in before.weights if not weight.name.startswith("moving_")}
    assert {weight.path for weight in after.weights} == kept.keys()
    for weight in after.weights:
        np.testing.assert_array_equal(as_array(weight), kept[weight.path])
    if keras.backend.backend() == "tensorflow":  # JAX compiles each operation at each size; applications_test.py does
        assert np.isfinite(as_array(after(images(2, (32, 32, 3))))).all()


def test_an_adapted_normalization_goes_on_as_it_was_adapted():
    adapted = layers.Normalization()
    adapted.adapt(10 + 3 * images(8))
    inputs = keras.Input(SIZE)
    model = keras.Model(inputs, layers.BatchNormalization()(layers.Conv2D(4, 3)(adapted(inputs))))
    np.testing.assert_array_equal(as_array(swap(model, "batch")(images())), as_array(model(images())))


def test_an_adapted_vocabulary_goes_on_as_it_was_adapted():
    if keras.backend.backend() == "jax":
        pytest.skip("Keras looks words up by TensorFlow")
    lookup = layers.IntegerLookup(output_mode="multi_hot")
    lookup.adapt(np.arange(10, 20))
    inputs = keras.Input((3,), dtype="int64")
    model = keras.Model(inputs, layers.BatchNormalization()(layers.Dense(4)(lookup(inputs))))
    words = np.array([[10, 12, 99], [13, 13, 19]])
    np.testing.assert_array_equal(as_array(swap(model, "batch")(words)), as_array(model(words)))
