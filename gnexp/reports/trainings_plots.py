"""The pictures of several trainings side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gnexp.analysis import trainings
from gnexp.analysis.trainings import Group, History
from gnexp.config.objective import Objective, words
from gnexp.reports import limits

_DISTINCT = 10  # colours
_REACH = 2  # times the span of nearly all values: values further away from them are left outside of a picture


def colors(groups: Sequence[Group]) -> dict[str, object]:
    """Returns a colour for each group's name, the same in all pictures."""
    many = colormaps["turbo"](np.linspace(0.05, 0.95, len(groups)))
    shades = [f"C{number}" for number in range(_DISTINCT)] if len(groups) <= _DISTINCT else many
    return dict(zip((group.name for group in groups), shades, strict=False))


def curves(groups: Sequence[Group], headline: Objective, shades: Mapping[str, object]) -> Figure:
    """Returns the four curves of each group: losses, and a figure, of training and of validation."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    titles = [f"{what} {of}" for what in ("Training", "Validation") for of in ("loss", words(headline.name))]
    for axes, curve, title in zip(figure.subplots(2, 2).flat, trainings.curves(headline), titles, strict=True):
        shown = []
        for group in groups:
            shown += _draw(axes, group, curve, shades[group.name])
        _fit_most(axes, shown)
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    names = [Line2D([], [], color=shades[group.name], label=group.name) for group in groups]
    kinds = [Line2D([], [], color="black", label="ours")]
    if any(len(group.trainings) > 1 for group in groups):
        kinds.append(Line2D([], [], color="black", linewidth=0.7, alpha=0.6, label="one seed of several"))
    if any(group.reference for group in groups):
        kinds.append(Line2D([], [], color="black", linestyle="--", label="reference"))
    figure.legend(handles=names + kinds, loc="outside lower center", ncols=min(5, len(names + kinds)), fontsize=9)
    return figure


def _draw(axes: Axes, group: Group, curve: str, color: object) -> list[float]:
    """Draws a group's lines, and returns all that they show."""
    seeds = [_values(training.history, curve) for training in group.trainings]
    if len(seeds) > 1:
        for values in seeds:
            _line(axes, values, color=color, linewidth=0.7, alpha=0.6)
    if seeds:
        longest = max(map(len, seeds))
        mean = np.mean([values for values in seeds if len(values) == longest], axis=0)
        _line(axes, mean, color=color, linewidth=1.8, label=group.name)
    reference = _values(group.reference, curve)
    if reference:
        _line(axes, reference, color=color, linestyle="--", linewidth=1.2, label=f"{group.name}, reference")
    return [value for values in (*seeds, reference) for value in values]


def _values(history: History, curve: str) -> list[float]:
    return limits.drawable(epoch[curve] for epoch in history if curve in epoch)


def _line(axes: Axes, values: Sequence[float], **options: object) -> None:
    # Without a marker, a line with one epoch would be invisible.
    axes.plot(range(1, len(values) + 1), values, marker="." if len(values) == 1 else "", **options)


def _fit_most(axes: Axes, shown: Sequence[float]) -> None:
    shown = limits.known(shown)
    if not shown:
        return
    # No interpolation between two values, because one of them may be the one that is far off. Of two values in all, the
    # higher is then the low one.
    ends = np.percentile(shown, 2, method="higher"), np.percentile(shown, 98, method="lower")
    low, high = min(ends), max(ends)
    reach = _REACH * (high - low) or np.inf
    limits.fit(axes, [value for value in shown if low - reach <= value <= high + reach], share=0.05, least=0.01)
