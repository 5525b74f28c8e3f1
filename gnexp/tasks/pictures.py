"""Pictures of what a network gets right and wrong, as PNG files in memory."""

import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

_DPI = 100
_COLUMNS = 6


@dataclasses.dataclass(frozen=True)
class Picture:
    """The bytes of a PNG file, with its width and height in pixels."""

    png: bytes
    width: int
    height: int


def _render(figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return Picture(buffer.getvalue(), *Image.open(buffer).size)


def _plain(names: Sequence[str]) -> list[str]:
    """Returns names of the user's as matplotlib shows them as they are: between two `$` it expects a formula."""
    return [name.replace("$", r"\$") for name in names]


def confusion_matrix(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> Picture:
    """Draws how often each class (a row) was taken for each class (a column), as counts.

    Args:
      labels: integers of shape (n,).
      probabilities: floats of shape (n, classes).
      names: the names of the classes.
    """
    names = _plain(names)
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        xticks=range(len(names)),
        yticks=range(len(names)),
        yticklabels=names,
        xlabel="predicted",
        ylabel="true",
        title=f"{np.trace(counts)} of {len(labels)} right",
    )
    axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
    for row, column in np.argwhere(counts):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8)
    return _render(figure)


def _show(axes: Axes, image: np.ndarray, dark: bool = True) -> None:
    """Shows an image of shape (height, width, channels): uint8, or floats from 0 to 1; grey ones in ink on paper."""
    most = 255 if image.dtype == np.uint8 else 1
    if image.shape[-1] == 3:
        axes.imshow(np.clip(image, 0, most))
    else:
        axes.imshow(image[..., 0], cmap="gray_r" if dark else "gray", vmin=0, vmax=most)


def most_wrong(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> Picture:
    """Draws the mistakes in which the true label got the least probability, the worst first, with both labels.

    Args:
      images: uint8 or float of shape (n, height, width, channels); three channels are red, green and blue.
      labels: integers of shape (n,).
      probabilities: floats of shape (n, classes).
      names: the names of the classes.
    """
    names = _plain(names)
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][: 3 * _COLUMNS]
    rows = max(1, math.ceil(len(worst) / _COLUMNS))
    # Placed by hand: the automatic layout draws every axes several times.
    height = 0.5 + 2.4 * rows
    figure = Figure(figsize=(2 * _COLUMNS, height))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 1.0 / height, hspace=0.35, wspace=0.05)
    figure.suptitle(f"{len(wrong)} of {len(labels)} wrong" if len(wrong) else f"none of {len(labels)} wrong")
    for axes in (grid := figure.subplots(rows, _COLUMNS, squeeze=False)).flat:
        axes.set_axis_off()
    for index, axes in zip(worst, grid.flat, strict=False):
        _show(axes, images[index])
        taken = predicted[index]
        axes.set_title(
            f"{names[labels[index]]} ({probabilities[index, labels[index]]:.1g})\n"
            f"taken for {names[taken]} ({probabilities[index, taken]:.2f})",
            fontsize=9,
        )
    return _render(figure)


def images(some: np.ndarray) -> Picture:
    """Draws at most 24 images of shape (n, height, width, channels) side by side."""
    rows = max(1, math.ceil(len(some) / _COLUMNS))
    figure = Figure(figsize=(1.5 * _COLUMNS, 1.5 * rows))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99, hspace=0.03, wspace=0.03)
    for place, axes in enumerate(figure.subplots(rows, _COLUMNS, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(some):
            _show(axes, some[place])
    return _render(figure)


def masks(images: np.ndarray, targets: np.ndarray, found: np.ndarray, names: Sequence[str]) -> Picture:
    """Draws images with their masks and with the predicted ones: the three with most wrong pixels, then the best three.

    Args:
      images: uint8 or float of shape (n, height, width, channels).
      targets: integers of shape (n, height, width).
      found: likewise, the predicted classes.
      names: the names of the classes.
    """
    right = (targets == found).mean(axis=(1, 2))
    order = np.argsort(right, kind="stable")
    shown = list(dict.fromkeys([*order[:3], *order[-3:]]))
    figure = Figure(figsize=(7.5, 2.6 * len(shown) + 0.4), layout="constrained")
    for row, index in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        titles = ("image", "true", f"predicted: {right[index]:.1%} of its pixels right")
        for axes, title, mask in zip(row, titles, (None, targets[index], found[index]), strict=True):
            _show(axes, images[index], dark=False)
            if mask is not None:
                axes.imshow(
                    mask, cmap="viridis", vmin=0, vmax=max(1, len(names) - 1), alpha=0.45, interpolation="nearest"
                )
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
    return _render(figure)


def labels(targets: np.ndarray, found: np.ndarray, names: Sequence[str]) -> Picture:
    """Draws for each label how often it was found, missed, and seen where it was not.

    Args:
      targets: 0 and 1 of shape (n, labels).
      found: booleans of the same shape.
      names: the names of the labels.
    """
    names = _plain(names)
    true = targets.astype(bool)
    parts = {"found": true & found, "missed": true & ~found, "seen where it is not": ~true & found}
    figure = Figure(figsize=(6.4, 1.5 + 0.3 * len(names)), layout="constrained")
    axes, left = figure.subplots(), np.zeros(len(names))
    for (name, part), color in zip(parts.items(), ("C0", "C7", "C1"), strict=True):
        counts = part.sum(axis=0)
        axes.barh(range(len(names)), counts, left=left, label=name, color=color)
        left = left + counts
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="examples")
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return _render(figure)


def predictions(targets: np.ndarray, found: np.ndarray) -> Picture:
    """Draws predicted against true numbers, a panel for each of at most four targets.

    Args:
      targets: floats of shape (n, targets).
      found: floats of the same shape.
    """
    count = min(4, targets.shape[1])
    figure = Figure(figsize=(4.5 * count, 4.5), layout="constrained")
    for target, axes in enumerate(figure.subplots(1, count, squeeze=False)[0]):
        true, predicted = targets[:, target], found[:, target]
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.plot(true, predicted, ".", alpha=0.4)
        axes.set(xlabel="true", ylabel="predicted", title=f"target {target}" if count > 1 else "")
    return _render(figure)
