"""Any Keras model with another normalization in the place of its batch normalization."""

import warnings

import keras
from keras import layers

from gnexp.config.schema import NORMS
from gnexp.norms import table
from gnexp.norms.by_name import KERAS_BATCH, Norm
from gnexp.norms.fitted import FittedGroupNormalization
from gnexp.norms.rebuild import check_graph, reachable, rebuild

_KINDS = tuple(norm for norm in NORMS if norm != "keep")
_MOST_NAMED = 5


def swap(
    model: keras.Model,
    norm: str = "group",
    groups: int = 32,
    fit: str = "exact",
    channels_per_group: int | None = None,
    epsilon: float | None = None,
) -> keras.Model:
    """Returns a copy of a model with another normalization in the place of each BatchNormalization.

    The new layers have the old ones' name, axis, center, scale, initializers, regularizers, constraints, `trainable`
    and dtype policy, and gamma and beta; "batch" and "frozen_batch" have `synchronized` and `renorm` as well. The
    moving statistics go where the new norm has none. Every other weight is copied; the model itself is left as it is.
    Weights that were trained with batch normalization are a start for the new network, which has to be trained on.

    Example:
        >>> model = swap(keras.applications.MobileNetV2(weights=None), groups=32, fit="gcd")

    Args:
      model: a Sequential or functional model, such as those of keras.applications; inner models may be either.
      norm: "group", "layer", "instance", "instance_scalar", "batch", "frozen_batch", "ghost_batch" or "none".
      groups: of "group"; -1 is a group per channel.
      fit: "exact", or "gcd" for the greatest common divisor with the channels where the number does not divide them.
      channels_per_group: used instead of `groups`, unless it is None or 0.
      epsilon: by default that of the layer that is replaced.

    Raises:
      ValueError: an argument is out of its range; the model has no BatchNormalization, or one inside of another layer,
        where it cannot be reached; the model cannot be copied; the groups do not fit; a group would hold a single
        value. The message names the layers.
    """
    if norm not in _KINDS:
        raise ValueError(f"norm={norm!r} is not allowed: it must be one of {', '.join(_KINDS)}")
    size = channels_per_group or 0
    FittedGroupNormalization(groups, fit, size, epsilon=1 if epsilon is None else epsilon)  # refuses a wrong argument
    copy = swapped(model, Norm(norm, groups, fit, size, epsilon))
    if few := table.check(table.rows(copy), model.name):
        warnings.warn(few, stacklevel=2)
    return copy


def swapped(model: keras.Model, norm: Norm) -> keras.Model:
    """Returns a copy of a model with the layers of `norm` in the place of each BatchNormalization; see `swap`."""
    check_graph(model)
    found = {id(layer): (path, layer) for path, layer in table.walk(model) if _is_batch_norm(layer)}
    if not found:
        others = ", ".join(dict.fromkeys(row.layer for row in table.rows(model)))
        raise ValueError(
            f"there is nothing to swap: {model.name} has no BatchNormalization"
            + (f" (its norms are {others})" if others else " and no other norm")
        )
    within = {id(layer) for _, layer in reachable(model)}
    if out_of_reach := [path for key, (path, _) in found.items() if key not in within]:
        raise ValueError(
            f"{len(out_of_reach)} of the {len(found)} BatchNormalization layers of {model.name} cannot be reached, "
            f"because they are inside of other layers: {_named(out_of_reach)}. Give the code that builds them the norm"
        )
    _check_fit(found.values(), norm)
    for setting in () if norm.kind in KERAS_BATCH else ("synchronized", "renorm"):
        if on := [path for path, layer in found.values() if getattr(layer, setting)]:
            warnings.warn(f"{setting}=True of {_named(on)} is not copied: {norm.kind} has none", stacklevel=3)
    return rebuild(model, lambda layer: norm.like(layer) if _is_batch_norm(layer) else None)


def _is_batch_norm(layer: layers.Layer) -> bool:
    return isinstance(layer, layers.BatchNormalization)


def _check_fit(found, norm: Norm) -> None:
    """Refuses groups that do not fit, naming all layers and not only the first."""
    wrong = []
    for path, layer in found:
        try:
            norm.like(layer)
        except ValueError as error:
            wrong.append(f"{path} ({error})")
    if wrong:
        raise ValueError(
            f"the groups do not fit {len(wrong)} of {len(list(found))} norms: {_named(wrong)}. "
            "Choose another number, channels_per_group or fit='gcd'"
        )


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
