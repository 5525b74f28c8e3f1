"""Pictures of a classifier's mistakes, as PNG files in memory."""

import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
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


def confusion_matrix(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> Picture:
    """Draws how often each class (a row) was taken for each class (a column), as counts.

    Args:
      labels: integers of shape (n,).
      probabilities: floats of shape (n, classes).
      names: the names of the classes.
    """
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


def most_wrong(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> Picture:
    """Draws the mistakes in which the true label got the least probability, the worst first, with both labels.

    Args:
      images: uint8 of shape (n, height, width, 1).
      labels: integers of shape (n,).
      probabilities: floats of shape (n, classes).
      names: the names of the classes.
    """
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
        axes.imshow(images[index, ..., 0], cmap="gray_r", vmin=0, vmax=255)
        taken = predicted[index]
        axes.set_title(
            f"{names[labels[index]]} ({probabilities[index, labels[index]]:.1g})\n"
            f"taken for {names[taken]} ({probabilities[index, taken]:.2f})",
            fontsize=9,
        )
    return _render(figure)
