"""A network that gnexp has trained, as one to train further: `--config.model.name=trained:network`."""

import keras


def network(inputs: keras.KerasTensor, outputs: int, path: str) -> keras.Model:
    """Returns a network that gnexp has trained, with its weights and without its scaling of images.

    Args:
      inputs: images from 0 to 1.
      outputs: the number of classes, which must be that of the saved network.
      path: of the saved network.
    """
    del inputs, outputs  # The saved network has its own.
    model = keras.saving.load_model(path)
    scaled = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
    return keras.Model(scaled.output, model.output)
