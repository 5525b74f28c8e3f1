"""A U-Net (Ronneberger et al., arXiv 1505.04597) with padded convolutions and a norm after each.

For a class for each image, its features at full resolution are averaged over the image.
"""

import functools
from collections.abc import Callable

import keras
from keras import layers


def build(
    inputs: keras.KerasTensor,
    outputs: int,
    norm: Callable[..., layers.Layer],
    per_pixel: bool = False,
    width: int = 16,
    levels: int = 2,
) -> keras.Model:
    """Builds the network.

    Args:
      inputs: images from 0 to 1, (batch, height, width, channels).
      outputs: the number of classes; the network returns logits, float32 of shape (batch, outputs) or, for each pixel,
        (batch, height, width, outputs).
      norm: `norm(name=...)` returns a new norm.
      per_pixel: whether it returns logits for each pixel.
      width: the channels at full resolution; each level below has twice as many.
      levels: how often the resolution is halved.

    Raises:
      ValueError: the images cannot be halved so often.
    """
    if any(size % 2**levels for size in inputs.shape[1:3]):
        raise ValueError(f"levels={levels} is not allowed: {2**levels} must divide {inputs.shape[1:3]}, the image size")

    conv = functools.partial(layers.Conv2D, padding="same", use_bias=False, kernel_initializer="he_normal")

    def double(x, channels: int, name: str):
        for number in (1, 2):
            x = conv(channels, 3, name=f"{name}_conv_{number}")(x)
            x = layers.ReLU()(norm(name=f"{name}_norm_{number}")(x))
        return x

    x, skipped = inputs, []
    for level in range(levels):
        x = double(x, width * 2**level, f"down_{level + 1}")
        skipped.append(x)
        x = layers.MaxPooling2D()(x)
    x = double(x, width * 2**levels, "bottom")
    for level in reversed(range(levels)):
        x = layers.Conv2DTranspose(width * 2**level, 2, 2, kernel_initializer="he_normal", name=f"up_{level + 1}")(x)
        x = double(layers.Concatenate()([skipped[level], x]), width * 2**level, f"up_{level + 1}")
    if per_pixel:
        logits = layers.Conv2D(outputs, 1, dtype="float32", name="logits")(x)
    else:
        x = layers.GlobalAveragePooling2D()(x)
        logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="unet")
