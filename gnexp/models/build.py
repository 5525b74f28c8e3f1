"""The networks by name; there is one so far."""

import keras
from ml_collections import ConfigDict

from gnexp.errors import UserError
from gnexp.models import cnn
from gnexp.norms import table
from gnexp.norms.weight_standardization import standardize


def build(config: ConfigDict, input_shape: tuple[int, ...], outputs: int, dtype: str = "float32") -> keras.Model:
    """Builds the network of a config.

    Args:
      config: a config's `model` section.
      input_shape: (height, width, channels) of the images, which are uint8 from 0 to 255.
      outputs: the number of outputs for each image; the network returns float32 of shape (batch, outputs).
      dtype: the layers' dtype policy.

    Raises:
      UserError: a norm of the network would normalize single values.
    """
    model = cnn.build(config, input_shape, outputs, dtype)
    if config.weight_standardization:
        model = standardize(model)
    try:
        table.check(table.rows(model), model.name)
    except ValueError as error:
        raise UserError(f"config.model.norm={config.norm!r} is not allowed: {error}") from error
    return model
