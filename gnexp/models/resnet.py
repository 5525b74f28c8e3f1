"""Residual networks (He et al., arXiv 1512.03385), for small and for large images.

A depth of 6n + 2 is the paper's network for CIFAR-10 (section 4.2): three stages of n blocks. 18, 34, 50, 101 and 152
are those for ImageNet (table 1): four stages, from 50 on of bottlenecks. Where a shortcut changes its size, it is a 1x1
convolution (option B). The stride of a bottleneck is in its 3x3 convolution, as in most later code.
"""

import functools
from collections.abc import Callable

import keras
from keras import layers

_LARGE = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_WITH_BOTTLENECKS = 50  # and what is deeper
_EXPANSION = 4  # how many times as many channels leave a bottleneck as are inside


def build(
    inputs: keras.KerasTensor,
    outputs: int,
    norm: Callable[..., layers.Layer],
    depth: int = 20,
    widen: int = 1,
    zero_gamma: bool = False,
    l2: float = 0.0,
) -> keras.Model:
    """Builds the network.

    Args:
      inputs: images from 0 to 1, (batch, height, width, channels).
      outputs: the number of classes; the network returns logits, float32 of shape (batch, outputs).
      norm: `norm(name=..., gamma_initializer=...)` returns a new norm.
      depth: 6n + 2, or 18, 34, 50, 101 or 152: how many layers with weights there are, without those of shortcuts.
      widen: how many times as many channels as in the paper.
      zero_gamma: whether the last gamma of each block is 0 at first, so that each block begins as its shortcut.
      l2: of the convolution kernels.

    Raises:
      ValueError: there is no network of this depth.
    """
    if depth not in _LARGE and (depth < 8 or depth % 6 != 2):
        raise ValueError(f"depth={depth} is not allowed: it must be 6n + 2, or one of {', '.join(map(str, _LARGE))}")
    conv = functools.partial(
        layers.Conv2D,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
    )
    large = depth in _LARGE
    blocks = _LARGE[depth] if large else (depth // 6,) * 3
    first = (64 if large else 16) * widen
    bottleneck = large and depth >= _WITH_BOTTLENECKS
    x = conv(first, 7 if large else 3, 2 if large else 1, name="stem_conv")(inputs)
    x = layers.ReLU()(norm(name="stem_norm")(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(x) if large else x
    last = "zeros" if zero_gamma else "ones"
    for stage, count in enumerate(blocks):
        for number in range(count):
            stride = 2 if stage and not number else 1
            x = _block(x, first * 2**stage, stride, bottleneck, f"stage_{stage + 1}_{number + 1}", conv, norm, last)
    x = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=f"resnet{depth}")


def _block(x, width: int, stride: int, bottleneck: bool, name: str, conv, norm, last: str):
    """Returns the outputs of one block: convolutions (channels, size, stride), and the shortcut."""
    steps = [(width, 3, stride), (width, 3, 1)]
    if bottleneck:
        steps = [(width, 1, 1), (width, 3, stride), (_EXPANSION * width, 1, 1)]
    shortcut = x
    if stride > 1 or x.shape[-1] != steps[-1][0]:
        shortcut = conv(steps[-1][0], 1, stride, name=f"{name}_shortcut_conv")(x)
        shortcut = norm(name=f"{name}_shortcut_norm")(shortcut)
    for number, step in enumerate(steps, start=1):
        end = number == len(steps)
        x = conv(*step, name=f"{name}_conv_{number}")(x)
        x = norm(name=f"{name}_norm_{number}", gamma_initializer=last if end else "ones")(x)
        x = x if end else layers.ReLU()(x)
    return layers.ReLU()(layers.Add()([x, shortcut]))
