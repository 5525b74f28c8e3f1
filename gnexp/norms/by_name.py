"""The normalization layers by their names in a config."""

import dataclasses
from typing import Any

import keras
from keras import layers
from ml_collections import ConfigDict

from gnexp.config import groups
from gnexp.group_normalization import GroupNormalization
from gnexp.norms.fitted import FittedGroupNormalization
from gnexp.norms.ghost_batch import GhostBatchNormalization
from gnexp.norms.scalar_instance import ScalarInstanceNormalization

_SHARED = (
    "axis",
    "center",
    "scale",
    *(f"{weight}_{part}" for weight in ("beta", "gamma") for part in ("initializer", "regularizer", "constraint")),
)
_MOVING = ("moving_mean_initializer", "moving_variance_initializer")
_WITH_MOVING_AVERAGES = ("batch", "ghost_batch", "frozen_batch")
KERAS_BATCH = ("batch", "frozen_batch")  # kinds with the settings that only Keras's BatchNormalization has
_OF_KERAS = ("synchronized", "renorm", "renorm_clipping", "renorm_momentum")


@keras.saving.register_keras_serializable(package="gnexp")
class FrozenBatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that computes with its moving averages in training, too.

    It stays so where a model is made trainable as a whole: gamma and beta are then learned, the averages never.
    """

    def call(self, inputs, training=None, mask=None):
        """Returns `inputs` normalized: same shape, dtype `compute_dtype`."""
        return super().call(inputs, training=False)


@dataclasses.dataclass(frozen=True)
class Norm:
    """Makes the normalization layers of one network.

    Attributes:
      kind: a name in `schema.NORMS` other than "keep".
      groups, fit, channels_per_group: of "group"; see `config.groups.count`.
      epsilon, momentum: None is the default of the layer, or what the layer in whose place it stands has.
      virtual_batch_size: of "ghost_batch".
      dtype: the layers' dtype policy; None is Keras's own, or that of the layer in whose place it stands.
    """

    kind: str
    groups: int = 32
    fit: str = "exact"
    channels_per_group: int = 0
    epsilon: float | None = None
    momentum: float | None = None
    virtual_batch_size: int = 32
    dtype: Any = None

    def __call__(self, name: str | None = None, **arguments: Any) -> layers.Layer:
        """Returns a new layer, which finds its number of groups when it is built.

        Args:
          name: the layer's name.
          **arguments: those that Keras's BatchNormalization and GroupNormalization share, such as `axis`, `scale` and
            `gamma_initializer`. A norm without such weights ignores them.

        Raises:
          TypeError: there is no such argument.
        """
        if unknown := arguments.keys() - {*_SHARED, "trainable"}:
            raise TypeError(f"a norm has no argument {', '.join(sorted(unknown))}; allowed: {', '.join(_SHARED)}")
        return self._layer(name=name, **arguments)

    def like(self, layer: layers.BatchNormalization) -> layers.Layer:
        """Returns a new layer to stand where a BatchNormalization stood, without that layer's weights.

        It has the layer's name, axis, center, scale, initializers, regularizers, constraints, `trainable` and dtype
        policy, and its epsilon and momentum if this norm has none of its own. If the layer is built, a number of groups
        that fits its channels is found at once.

        Raises:
          ValueError: the channels cannot be split into the groups.
        """
        arguments = {key: getattr(layer, key) for key in (*_SHARED, "name", "trainable")}
        # The policy's name, because Keras cannot save an Identity that was given the policy itself.
        inherited = {"epsilon": layer.epsilon, "momentum": layer.momentum, "dtype": layer.dtype_policy.name}
        own = {key: value for key in inherited if (value := getattr(self, key)) is None}
        norm = dataclasses.replace(self, **{key: inherited[key] for key in own})
        if norm.kind in _WITH_MOVING_AVERAGES:
            arguments |= {key: getattr(layer, key) for key in _MOVING}
        if norm.kind in KERAS_BATCH:
            arguments |= {key: getattr(layer, key) for key in _OF_KERAS}
        if norm.kind == "group" and layer.built:
            channels = layer.moving_mean.shape[0]
            found = groups.count(channels, norm.groups, norm.fit, norm.channels_per_group)
            norm = dataclasses.replace(norm, groups=found, fit="exact", channels_per_group=0)
        new = norm._layer(**arguments)
        new.activity_regularizer = layer.activity_regularizer
        return new

    def _layer(self, name: str | None, **arguments: Any) -> layers.Layer:
        settings = {"name": name, "dtype": self.dtype}
        if self.kind == "none":
            return layers.Identity(**settings)
        settings |= {} if self.epsilon is None else {"epsilon": self.epsilon}
        if self.kind == "instance_scalar":
            return ScalarInstanceNormalization(**settings)
        settings |= arguments
        if self.kind in _WITH_MOVING_AVERAGES and self.momentum is not None:
            settings["momentum"] = self.momentum
        match self.kind:
            case "group" if self.fit == "exact" and not self.channels_per_group:
                return GroupNormalization(self.groups, **settings)
            case "group":
                return FittedGroupNormalization(self.groups, self.fit, self.channels_per_group, **settings)
            case "layer":
                return GroupNormalization(1, **settings)
            case "instance":
                return GroupNormalization(-1, **settings)
            case "batch":
                return layers.BatchNormalization(**settings)
            case "frozen_batch":
                return FrozenBatchNormalization(**{**settings, "trainable": False})
            case "ghost_batch":
                return GhostBatchNormalization(self.virtual_batch_size, **settings)
        raise ValueError(f"norm={self.kind!r}")


def factory(config: ConfigDict, dtype: str | None = None) -> Norm:
    """Returns what makes the norms of a network; `norm(name=None)` returns a new layer.

    Args:
      config: a config's `model` section, whose `norm` is not "keep".
      dtype: the layers' dtype policy; None is Keras's own, and what a swapped layer had.
    """
    return Norm(
        kind=config.norm,
        groups=config.groups,
        fit=config.groups_fit,
        channels_per_group=config.channels_per_group,
        epsilon=config.epsilon,
        momentum=config.momentum,
        virtual_batch_size=config.virtual_batch_size,
        dtype=dtype,
    )
