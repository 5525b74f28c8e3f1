"""`swap` on every network of keras.applications: norms found, swapped and left, weights carried, outputs finite."""

import inspect
import math
import warnings

import keras
import numpy as np
import pytest

from gnexp.norms import swap, table

pytestmark = pytest.mark.slow

NETWORKS = sorted({  # some are in two modules
    name
    for module in vars(keras.applications).values()
    if inspect.ismodule(module)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and name[0].isupper()
})  # fmt: skip
SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71, "NASNetLarge": 331, "NASNetMobile": 224}
WITHOUT = ("ConvNeXt", "VGG")  # layer normalization, and none


def as_array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def by_layer(model: keras.Model) -> list[tuple[str, keras.Variable]]:
    """Returns weights by the paths of their layers; in their own, a copy of NASNet lacks the scopes of its code."""
    return [
        (f"{path}/{weight.name}", weight)
        for path, layer in table.walk(model)
        for weight in layer._trainable_variables + layer._non_trainable_variables
    ]


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch):
    """Starts every kernel at zero, because JAX takes seconds to compile a random initializer for each shape."""
    monkeypatch.setattr(
        keras.initializers.VarianceScaling, "__call__", lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    )


def test_there_are_as_many_as_keras_has():
    assert len(NETWORKS) >= 38


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_keras_is_swapped_whole(name):
    keras.backend.clear_session()
    size = SMALLEST.get(name, 64)
    before = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=4)
    found = [row for row in table.rows(before) if row.layer == "BatchNormalization"]
    if name.startswith(WITHOUT):
        with pytest.raises(ValueError, match="there is nothing to swap"):
            swap(before)
        return
    random = np.random.default_rng(0)
    for weight in before.weights:  # as if they had been trained: no two alike, and none as it was made
        weight.assign(as_array(weight) + random.uniform(0.01, 0.02, weight.shape).astype("float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few values to a group, at the end of a network that sees 64 pixels
        after = swap(before, norm="layer")
    rows = table.rows(after)
    assert [row.path for row in rows] == [row.path for row in found]
    assert {row.layer for row in rows} == {"GroupNormalization"}
    kept = {path: weight for path, weight in by_layer(before) if not weight.name.startswith("moving_")}
    carried = dict(by_layer(after))
    assert len(carried) == len(after.weights)
    assert carried.keys() == kept.keys()
    for path, weight in carried.items():
        np.testing.assert_array_equal(as_array(weight), as_array(kept[path]), err_msg=path)
    outputs = after.predict_on_batch(random.uniform(0, 255, (1, size, size, 3)).astype("float32"))
    assert np.isfinite(outputs).all()
    fitted = {math.gcd(32, row.channels) for row in rows}
    print(f"\n| {name} | {len(found)} | {len(rows)} | 0 | {len(kept)} of {len(before.weights)} | {sorted(fitted)} |")
