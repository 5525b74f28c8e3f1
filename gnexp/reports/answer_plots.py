"""The picture of a sweep's answer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnexp.analysis.answer import Answer
from gnexp.analysis.intervals import ends
from gnexp.config.objective import bounds, is_accuracy, words
from gnexp.reports import limits
from gnexp.space.domain import in_order, is_numeric
from gnexp.terminal.words import in_words, short

_WIDE = 2.5  # use a logarithmic axis if the largest value is at least this many times the smallest
_REACH = 1.1  # times the seeds' range, to be shown beyond them: as far as the interval over three seeds can go
_FAR = 1.75  # times the median error: an answer above that is left outside of the picture
_MOST_LETTERS = 70  # that all tick labels may have together before they are slanted
_MOST_IN_A_ROW, _OF_A_MARKER = 105, 8  # letters of a legend; and as many as a marker is wide


def error(found: Sequence[Answer], path: str) -> Figure:
    """Returns the test figure over one of the scientific hyperparameters, with a line for each value of the others.

    An accuracy is drawn as an error.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    places = _places({each.values[path] for each in found if path in each.values})
    others = list(dict.fromkeys(other for each in found for other in each.values if other != path))
    lines: dict[tuple, list[Answer]] = {}
    for each in found:
        if path in each.values:
            lines.setdefault(tuple((other, each.values.get(other)) for other in others), []).append(each)
    named = [_name(line[0], others) for line in lines.values()]
    # Side by side, so that no interval hides another.
    step = 0.012 * (max(places.values()) - min(places.values()) or 1)
    shifts = [(number - (len(lines) - 1) / 2) * step for number in range(len(lines))]
    placed = [
        [(places[each.values[path]] + shift, each) for each in line]
        for shift, line in zip(shifts, lines.values(), strict=True)
    ]
    colors = [f"C{number % 10}" for number in range(len(lines))]
    for name, line, color in zip(named, placed, colors, strict=True):
        _draw(axes, name, line, color, "o-" if all(map(is_numeric, places)) else "o")
    names = [short(value) for value in places]
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len("".join(names)) > _MOST_LETTERS else {}
    axes.set_xticks(list(places.values()), names, **slanted)
    axes.margins(x=0.08)
    _fit_seeds(axes, found)
    for line, color in zip(placed, colors, strict=True):
        _beyond(axes, line, color)
    axes.set(
        xlabel=path, ylabel=_label(found[0].figure), title="Mean over the seeds with its 95% interval; each seed a dot"
    )
    axes.grid(axis="y", alpha=0.25)
    if len(lines) > 1:
        title = others[0] if len(others) == 1 else None
        columns = max(1, _MOST_IN_A_ROW // (_OF_A_MARKER + max(map(len, named))))
        figure.legend(loc="outside lower center", ncols=min(4, columns, len(lines)), fontsize=9, title=title)
    return figure


def _name(answer: Answer, others: Sequence[str]) -> str:
    beside = {other: answer.values[other] for other in others if other in answer.values}
    return short(beside.get(others[0], "")) if len(others) == 1 else in_words(beside)


def _places(values: set) -> Mapping[Any, float]:
    """Returns each value's place on the axis: itself, its logarithm or, if one is negative or no number, its rank."""
    ordered = sorted(values, key=in_order)
    if not all(is_numeric(value) and value >= 0 for value in ordered):
        return {value: float(place) for place, value in enumerate(ordered)}
    logarithmic = 0 < ordered[0] * _WIDE <= ordered[-1]
    return {value: math.log10(value) if logarithmic else float(value) for value in ordered}


def _draw(axes: Axes, name: str, line: Sequence[tuple[float, Answer]], color: str, fmt: str) -> None:
    known = [(place, _shown(each), each.test_interval or 0.0) for place, each in line if each.chosen]
    if known:
        places, errors, halves = zip(*known, strict=True)
        figure = line[0][1].figure
        scale = 100 if is_accuracy(figure) else 1
        within = (0.0, 100.0) if is_accuracy(figure) else bounds(figure)
        means = [np.mean(seeds) for seeds in errors]
        reach = [ends(mean, scale * half, within) for mean, half in zip(means, halves, strict=True)]
        intervals = np.abs(np.transpose(reach) - means)
        axes.errorbar(places, means, intervals, fmt=fmt, markersize=5, capsize=4, color=color, label=name)
        dots = [(place, seed) for place, seeds, _ in known for seed in seeds]
        axes.plot(*zip(*dots, strict=True), ".", markersize=6, color=color, alpha=0.5)


def _beyond(axes: Axes, line: Sequence[tuple[float, Answer]], color: str) -> None:
    """Marks at the upper edge the answers that failed, or that are above the picture."""
    edge, top = axes.get_xaxis_transform(), axes.get_ylim()[1]
    for place, each in line:
        if not each.chosen:
            marker, text = "x", "failed"
        elif (mean := np.mean(_shown(each))) > top:
            marker, text = "^", f"{mean:.3g}"
        else:
            continue
        axes.plot([place], [0.97], marker, color=color, transform=edge)
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # hides the line to the mean above the picture
        options = {"fontsize": 8, "rotation": 90, "ha": "center", "va": "top", "transform": edge, "bbox": paper}
        axes.text(place, 0.94, text, color=color, **options)


def _label(figure: str) -> str:
    return "test error in %" if is_accuracy(figure) else f"test {words(figure)}"


def _shown(each: Answer) -> list[float]:
    return limits.drawable(100 * (1 - test) if is_accuracy(each.figure) else test for test in each.tests)


def _fit_seeds(axes: Axes, found: Sequence[Answer]) -> None:
    """Fits the vertical axis to the seeds, and to their intervals up to `_REACH`.

    The interval of a mean over few seeds may reach far beyond them. The same holds for an answer whose error is far
    above the others.
    """
    every = [errors for each in found if (errors := limits.known(_shown(each)))]
    if not every:
        return
    shown = every
    if is_accuracy(found[0].figure):
        median = np.median([np.mean(errors) for errors in every])
        shown = [errors for errors in every if np.mean(errors) <= max(median, _FAR * median)]
    low = min(min(errors) - _REACH * np.ptp(errors) for errors in shown)
    high = max(max(errors) + _REACH * np.ptp(errors) for errors in shown)
    bottom, top = axes.get_ylim()
    limits.fit(axes, [low, high], share=0.05, least=0.1)
    fitted_bottom, fitted_top = axes.get_ylim()
    axes.set_ylim(max(bottom, fitted_bottom), min(top, fitted_top))
