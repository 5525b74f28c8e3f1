"""The norms of any Keras model, as a table: how many values each of them normalizes together."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import keras
from keras import layers
from tabulate import tabulate

from gnexp.group_normalization import GroupNormalization
from gnexp.norms.scalar_instance import ScalarInstanceNormalization

FEWEST = 8  # values to a group, below which it is said
_HEADERS = ("norm", "layer", "channels", "groups", "channels per group", "values per group")
_OF_GROUPS = (GroupNormalization, layers.GroupNormalization, ScalarInstanceNormalization)
_OTHERS = (layers.BatchNormalization, layers.LayerNormalization, layers.RMSNormalization)
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Row:
    """One norm of a model.

    Attributes:
      path: its name, after those of the models and layers that hold it.
      layer: the name of its class.
      channels: of its inputs; None if it is not built.
      groups: how many groups of channels it has; None if it has none, as batch normalization.
      channels_per_group: None, too, if it has no groups.
      values_per_group: how many values of an image share a mean and a variance, the fewest if the layer is used at
        several sizes; None if it has no groups, or if the size of its inputs is not known.
    """

    path: str
    layer: str
    channels: int | None
    groups: int | None = None
    channels_per_group: int | None = None
    values_per_group: int | None = None


def walk(layer: layers.Layer, path: str = "") -> Iterator[tuple[str, layers.Layer]]:
    """Yields every layer inside of a model, at any depth and inside of other layers, once, with its path."""
    seen: set[int] = set()

    def inside(outer: layers.Layer, path: str) -> Iterator[tuple[str, layers.Layer]]:
        for inner in outer._flatten_layers(include_self=False, recursive=False):
            if id(inner) not in seen:
                seen.add(id(inner))
                name = f"{path}/{inner.name}".lstrip("/")
                yield name, inner
                yield from inside(inner, name)

    yield from inside(layer, path)


def rows(model: keras.Model) -> list[Row]:
    """Returns a row for each norm of a model, in the order of its layers."""
    return [_row(path, layer) for path, layer in walk(model) if _is_norm(layer)]


def _is_norm(layer: layers.Layer) -> bool:
    return isinstance(layer, (*_OF_GROUPS, *_OTHERS))


def _row(path: str, layer: layers.Layer) -> Row:
    name, shapes = type(layer).__name__, _input_shapes(layer)
    if not layer.built or not shapes:
        return Row(path, name, None)
    axis = -1 if isinstance(layer, ScalarInstanceNormalization) else layer.axis
    # Keras's LayerNormalization may have several axes.
    channels = math.prod(shapes[0][each] for each in (axis if isinstance(axis, (list, tuple)) else [axis]))
    if not isinstance(layer, _OF_GROUPS):
        return Row(path, name, channels)
    groups = 1 if isinstance(layer, ScalarInstanceNormalization) else _groups(layer, channels)
    sizes = [
        channels // groups * math.prod(size for place, size in enumerate(shape) if place not in (0, axis % len(shape)))
        for shape in shapes
        if None not in shape[1:]
    ]
    return Row(path, name, channels, groups, channels // groups, min(sizes, default=None))


def _groups(layer: layers.Layer, channels: int) -> int:
    if isinstance(layer, GroupNormalization):
        return layer._split[1]
    return channels if layer.groups == -1 else layer.groups


def _input_shapes(layer: layers.Layer) -> list[tuple]:
    """Returns the shape of a layer's inputs at each place of a graph where it is called, or that it was built for."""
    called = [node.input_tensors[0].shape for node in layer._inbound_nodes]
    built = (layer.get_build_config() or {}).get("input_shape")
    return called or ([tuple(built)] if built else [])


def check(found: Sequence[Row], model: str) -> str | None:
    """Refuses norms that would normalize single values, and returns a line about those with fewer than `FEWEST`.

    Args:
      found: what `rows` returned.
      model: the model's name, for the message.

    Raises:
      ValueError: a group holds one value: its output would be beta for every input, whatever the network learns.
    """
    if dead := [row for row in found if row.values_per_group == 1]:
        raise ValueError(
            f"{len(dead)} of the {len(found)} norms of {model} would normalize each value by itself, so that their "
            f"output is the same for every input: {_named(dead)}. Choose fewer groups, or more channels in each"
        )
    if few := [row for row in found if row.values_per_group and row.values_per_group < FEWEST]:
        which = f"{len(few)} of the {len(found)} norms of {model}"
        return f"{which} have fewer than {FEWEST} values in a group: {_named(few)}"
    return None


def _named(found: Sequence[Row]) -> str:
    named = [f"{row.path} ({row.channels} channels, {row.groups} groups)" for row in found[:_MOST_NAMED]]
    return ", ".join(named) + (f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else "")


def text(found: Sequence[Row]) -> str:
    """Returns the rows as a table to print."""
    return tabulate([dataclasses.astuple(row) for row in found], _HEADERS)


def summary(found: Sequence[Row]) -> str:
    """Returns what kinds of norms there are in one line: "53 GroupNormalization, 32 groups of 2 to 64 channels"."""
    kinds: dict[str, list[Row]] = {}
    for row in found:
        kinds.setdefault(row.layer, []).append(row)
    return "; ".join(f"{len(members)} {name}{_sizes(members)}" for name, members in kinds.items()) or "no norms"


def _sizes(found: Sequence[Row]) -> str:
    if any(row.groups is None for row in found):
        return ""
    groups, channels = ({getattr(row, name) for row in found} for name in ("groups", "channels_per_group"))
    return f", {_range(groups)} groups of {_range(channels)} channels"


def _range(values: set[int]) -> str:
    return str(min(values)) if len(values) == 1 else f"{min(values)} to {max(values)}"
