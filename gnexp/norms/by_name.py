"""The normalization layers by their names in a config."""

from keras import layers
from ml_collections import ConfigDict

from gnexp.group_normalization import GroupNormalization
from gnexp.norms.scalar_instance import ScalarInstanceNormalization


def layer(config: ConfigDict, dtype: str) -> layers.Layer:
    """Returns a new normalization layer.

    Args:
      config: a config's `model` section.
      dtype: the layer's dtype policy.
    """
    match config.norm:
        case "group":
            return GroupNormalization(config.groups, epsilon=config.epsilon, dtype=dtype)
        case "layer":
            return GroupNormalization(1, epsilon=config.epsilon, dtype=dtype)
        case "instance":
            return GroupNormalization(-1, epsilon=config.epsilon, dtype=dtype)
        case "batch":
            return layers.BatchNormalization(epsilon=config.epsilon, dtype=dtype)
        case "instance_scalar":
            return ScalarInstanceNormalization(config.epsilon, dtype=dtype)
        case "none":
            return layers.Identity(dtype=dtype)
    raise ValueError(f"norm={config.norm!r}")
