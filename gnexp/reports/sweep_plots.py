"""The pictures of a sweep's report."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from gnexp.analysis import intervals, outcomes
from gnexp.analysis.effects import Effect
from gnexp.analysis.sweep import Swept
from gnexp.config.objective import Objective, bounds
from gnexp.reports import limits
from gnexp.space.domain import Entry, in_order
from gnexp.terminal.words import count, short

if TYPE_CHECKING:
    from gnexp.analysis.response import Curve  # scikit-learn takes a second to import

_Shown = TypeVar("_Shown")


def curves(sweep: Swept) -> Figure:
    """Returns the objective over the epochs and over the trials; at least one trial must have completed."""
    objective = sweep.objective.name
    figure = Figure(figsize=(11, 4), layout="constrained")
    over_epochs, over_trials = figure.subplots(1, 2)
    seeds, *_ = each = [
        [limits.drawable(epoch[objective] for epoch in done.history) for done in trial.results] for trial in sweep.best
    ]
    histories = [_mean(of_a_trial) for of_a_trial in each]
    by_epoch = [limits.known(values) for values in itertools.zip_longest(*histories, fillvalue=math.nan)]
    quartiles = [np.percentile(values, [25, 50, 75]) if values else [math.nan] * 3 for values in by_epoch]
    low, median, high = np.reshape(quartiles, (-1, 3)).T
    epochs = range(1, len(by_epoch) + 1)
    over_epochs.fill_between(epochs, low, high, color="C0", alpha=0.2, linewidth=0, label="the middle half")
    over_epochs.plot(epochs, median, ".-", color="C0", label=f"median of {count(len(sweep.best), 'trial')}")
    for values in seeds if len(seeds) > 1 else []:
        over_epochs.plot(range(1, len(values) + 1), values, ".-", color="C1", linewidth=0.8, markersize=4, alpha=0.6)
    mean = histories[0]
    label = f"best: trial {sweep.best[0].trial_id}"
    over_epochs.plot(range(1, len(mean) + 1), mean, ".-", color="C1", linewidth=2, label=label)
    over_epochs.set(xlabel="epoch", ylabel=objective, title="Over a training")
    _fit_scores(over_epochs, sweep.objective, [*low, *high, *itertools.chain(*seeds)])
    _best_so_far(over_trials, sweep)
    for axes in (over_epochs, over_trials):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        # Below the axes, where it hides nothing.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, fontsize=8, frameon=False)
    return figure


def _mean(histories: Sequence[list[float]]) -> list[float]:
    """Returns the mean at each epoch, of the seeds that reached it: patience may end one before another."""
    longest = max(map(len, histories))
    return [float(np.mean([values[epoch] for values in histories if epoch < len(values)])) for epoch in range(longest)]


def _best_so_far(axes: Axes, sweep: Swept) -> None:
    objective = sweep.objective
    numbers = [int(trial.trial_id) for trial in sweep.trials]
    scores = [trial.mean for trial in sweep.trials]
    shown = _drawable(scores)
    axes.plot(numbers, shown, "o", color="C0", markersize=4, alpha=0.5, label="a trial")
    axes.step(
        numbers, _drawable(outcomes.best_so_far(scores, objective)), where="post", color="C1", label="best so far"
    )
    failed = [int(trial.trial_id) for trial in sweep.trials if trial.status == outcomes.FAILED]
    if failed:
        bottom = axes.get_xaxis_transform()
        axes.plot(failed, [0.03] * len(failed), "x", color="C3", transform=bottom, label="a trial that failed")
    axes.set(xlabel="trial", ylabel=objective.name, title="Over the sweep")
    _fit_scores(axes, objective, shown)


def _fit_scores(axes: Axes, objective: Objective, scores: Sequence[float]) -> None:
    """Fits the vertical axis to the scores only: the interval of a mean over few may reach far beyond all of them."""
    found = limits.known(scores)
    low, high = min(found, default=0), max(found, default=0)
    if objective.direction == "min" and high > 10 * low > limits.TINY:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        _label_logarithmic(axes.yaxis, low, high)
    else:
        limits.fit(axes, found, share=0.08, least=0.01)


def _drawable(values: Sequence[float | None]) -> list[float]:
    return limits.drawable(math.nan if value is None else value for value in values)


def _label_logarithmic(axis: Axis, low: float, high: float) -> None:
    """Labels few enough places between two ends that none overlap, and enough that the scale can be read."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def effects(sweep: Swept, found: Sequence[Effect]) -> Figure:
    """Returns a panel for each hyperparameter; at least one trial must have completed."""
    return _panels(sweep, found, _effect)


def responses(sweep: Swept, curves: Sequence["Curve"]) -> Figure:
    """Returns a panel for each scientific hyperparameter, with what a model expects over its values."""
    return _panels(sweep, curves, _response)


def _panels(sweep: Swept, found: Sequence[_Shown], draw: Callable[[Axes, _Shown, Swept], None]) -> Figure:
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(max(5, 4 * columns), 3.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(found) :]:
        axes.set_axis_off()
    for axes, each in zip(grid.flat, found, strict=False):
        draw(axes, each, sweep)
        axes.tick_params(axis="x", which="both", labelsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel(sweep.config.objective)
    _fit_scores(grid[0, 0], sweep.objective, [trial.mean for trial in sweep.best])
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _trials(axes: Axes, path: str, sweep: Swept) -> list:
    """Draws the trials over a hyperparameter; returns the values of a choice, which have the places 0, 1, ..."""
    ended = [trial for trial in sweep.counted if trial.status != outcomes.RUNNING and path in trial.values]
    completed = [trial for trial in ended if trial.mean is not None]
    entries = [entry for entry in sweep.space.entries if entry.path == path]
    values = []
    if sweep.space.listed(path):
        # The values of a choice, often powers of two, stand side by side, with their trials spread a little.
        spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(completed))
        values = sorted({trial.values[path] for trial in ended}, key=in_order)
        dots = [values.index(trial.values[path]) for trial in completed] + spread
        names = list(map(short, values))
        slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len("".join(names)) > 28 else {}
        axes.set_xticks(range(len(values)), names, **slanted)
        axes.set_xlim(-0.5, len(values) - 0.5)
    else:
        dots = [trial.values[path] for trial in completed]
        _span(axes, entries, sweep.space.logarithmic(path), dots)
    axes.plot(
        dots, _drawable([trial.mean for trial in completed]), "o", color="C0", markersize=4, alpha=0.35, label="a trial"
    )
    return values


def _response(axes: Axes, curve: "Curve", sweep: Swept) -> None:
    label = "by the model, with its 95% interval"
    if values := _trials(axes, curve.path, sweep):
        places = [values.index(value) for value in curve.values]
        reach = np.abs(np.array([curve.lows, curve.highs]) - curve.means)
        axes.errorbar(places, curve.means, reach, fmt="_", color="C1", markersize=9, capsize=3, label=label)
    else:
        axes.fill_between(curve.values, curve.lows, curve.highs, color="C1", alpha=0.25, linewidth=0)
        axes.plot(curve.values, curve.means, "-" if len(curve.values) > 1 else "_", color="C1", label=label)
    axes.set_title(curve.path, fontsize=10)


def _effect(axes: Axes, effect: Effect, sweep: Swept) -> None:
    path, levels = effect.path, effect.levels
    listed = bool(_trials(axes, path, sweep))
    places = range(len(levels)) if listed else [level.center for level in levels]
    means, halves = _drawable([level.mean for level in levels]), _drawable([level.interval for level in levels])
    known = not all(map(math.isnan, halves))
    within = bounds(sweep.objective.name)
    reach = [intervals.ends(mean, half, within) for mean, half in zip(means, halves, strict=True)]
    bars = np.abs(np.transpose(reach) - means)
    if len(levels) == 1 and not listed:
        # The mean of all trials says nothing about the point of the range at which it would be drawn.
        places, means, bars = [math.nan], [math.nan], [[math.nan]] * 2
    label = "mean over trials" + (", 95% interval" if known else "")
    axes.errorbar(places, means, bars if known else None, fmt="_", color="black", markersize=9, capsize=3, label=label)
    axes.set_title(f"{path} ({effect.role})", fontsize=10)


def _span(axes: Axes, entries: Sequence[Entry], logarithmic: bool, tried: Sequence[float]) -> None:
    """Fits the horizontal axis to the whole range that is searched, and to the config's own value beside it."""
    ends = [*(end for entry in entries for end in (entry.values or (entry.low, entry.high))), *tried]
    low, high = min(ends), max(ends)
    if logarithmic and low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low * (low / high) ** 0.05, high * (high / low) ** 0.05)
        _label_logarithmic(axes.xaxis, low, high)
    else:
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=all(entry.kind == "int" for entry in entries)))


def importance(names: Sequence[str], means: Sequence[float], spreads: Sequence[float]) -> Figure:
    """Returns a bar for each hyperparameter's importance, with its spread."""
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, limits.drawable(means), xerr=limits.drawable(spreads), color="C0", alpha=0.7, capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel("by how much R\N{SUPERSCRIPT TWO} falls when the column is shuffled")
    return figure
