"""Makes a page of tables and pictures from a sweep's workdir, also while the sweep runs.

  python -m gnexp.report --workdir=runs/sweep

The page is `report/README.md` in the workdir; TensorBoard shows its pictures too, as the run "report".
"""

import collections
import dataclasses
import io
import itertools
import math
import pathlib
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from ml_collections import ConfigDict
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from tabulate import tabulate

from gnexp import analysis, outcomes, space, summaries, workdir
from gnexp import config as configs
from gnexp.console import EFFECT_HEADERS, effect_rows, in_words, short, with_spread
from gnexp.errors import GnexpError, UserError
from gnexp.outcomes import Outcome

_FOLDER = "report"
_PAGE = "README.md"
_PICTURES = ("curves", "effects", "importance")
_TOP = 10
_FEWEST_FOR_FOREST, _FEWEST_TO_RELY_ON = 5, 10
_LOWEST_R2_TO_RELY_ON = 0.2
_SHUFFLES = 10
_BETTER = {"max": "higher is better", "min": "lower is better"}
_CHOSEN = {
    "random": "drew them, at random",
    "grid": "went through them, in order: before a grid is finished they are not balanced",
    "bayesian": "chose them, more often where it expected good scores: **the means are biased by where it looked**",
    "hyperband": "chose them, and a trial that it did not promote counts with the score of the few epochs that it had: "
    "**the means are biased by where it looked**, and by which trials it trained for longer",
}


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """What is reported.

    Attributes:
      directory: the sweep's workdir.
      config: its config.
      space: its search space.
      trials: all of them.
      counted: those that no other trial goes on from, so that hyperband's count once.
      best: the completed ones of these, the best first.
    """

    directory: pathlib.Path
    config: ConfigDict
    space: space.Space
    trials: list[Outcome]
    counted: list[Outcome]
    best: list[Outcome]


@dataclasses.dataclass(frozen=True)
class _Section:
    """A part of the page: its picture, where it has one, comes before its paragraphs."""

    heading: str
    paragraphs: Sequence[str]
    picture: str = ""
    figure: Figure | None = None


def report(directory: pathlib.Path) -> pathlib.Path:
    """Writes the page of the sweep in a workdir, in the place of an earlier one, and returns its path.

    Raises:
      UserError: there is no sweep; nothing is written.
    """
    trials = outcomes.read(directory)
    asked = configs.from_json(workdir.read_json(directory / workdir.CONFIG))
    counted = outcomes.final(trials)
    sweep = _Sweep(directory, asked, space.parse(asked), trials, counted, outcomes.ranked(counted, asked.objective))
    sections = [_best(sweep), _curves(sweep), _effects(sweep), _importance(sweep), _failures(sweep)]
    return _write(directory / _FOLDER, _introduction(sweep), sections)


def _write(folder: pathlib.Path, introduction: str, sections: Sequence[_Section]) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    for old in [*folder.glob("events.out.tfevents.*"), *(folder / f"{name}.png" for name in _PICTURES)]:
        old.unlink(missing_ok=True)
    events = summaries.EventFiles(folder)
    blocks = [introduction]
    for section in sections:
        blocks.append(f"## {section.heading}")
        if section.figure:
            buffer = io.BytesIO()
            section.figure.savefig(buffer, format="png")
            (folder / f"{section.picture}.png").write_bytes(buffer.getvalue())
            size = section.figure.canvas.get_width_height()
            events.add("", summaries.image(section.picture, buffer.getvalue(), *size))
            blocks.append(f"![{section.heading}]({section.picture}.png)")
        blocks += section.paragraphs
    events.write()
    with workdir.atomic(folder / _PAGE) as temporary:
        temporary.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return folder / _PAGE


def _introduction(sweep: _Sweep) -> str:
    asked, settings = sweep.config, sweep.config.sweep
    count = collections.Counter(trial.status for trial in sweep.trials)
    ended = f"{_number(count[outcomes.COMPLETED], 'trial')} completed, {count[outcomes.FAILED]} failed"
    images = f"the first {asked.data.train_size}" if asked.data.train_size else "all"
    if "epochs" in sweep.space.paths:
        epochs = "a number of epochs that is searched"
    else:
        epochs = f"{'up to ' if settings.tuner == 'hyperband' else ''}{_number(asked.epochs, 'epoch')}"
    validation, fallback = asked.data.validation, asked.data.fallback
    if validation == "test":
        measured = (
            "the test set. **So the choice was made on the test set**, and the test accuracies below are no estimate "
            "of what the best trial does on images that it has not seen."
        )
    else:
        share = f"{validation:.4g}" if isinstance(validation, int) else f"{100 * validation:.4g}%"
        measured = f"{share} of the training images, held out."
    return (
        f"# Sweep {sweep.directory.resolve().name}\n\n"
        f"Dataset {asked.data.name}{' (the fallback for the one that was asked for)' if fallback else ''}, trained on "
        f"{images} of its training images for {epochs}. Tuner {settings.tuner}: {ended}, "
        f"{count[outcomes.RUNNING]} running or interrupted, of at most {settings.max_trials}; "
        f"{_number(settings.executions, 'seed')} per trial. The objective is {asked.objective} "
        f"({_BETTER[configs.OBJECTIVES[asked.objective]]}) of each training's best epoch, on {measured}"
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _best(sweep: _Sweep) -> _Section:
    heading = "The best trials"
    if not sweep.best:
        return _Section(heading, ["No trial has completed yet."])
    top, paths = sweep.best[:_TOP], sweep.space.searched
    epochs = ["epochs"] if sweep.config.sweep.tuner == "hyperband" else []
    rows = []
    for trial in top:
        tests = [done.test_accuracy for done in trial.results]
        test = with_spread(statistics.fmean(tests), outcomes.interval95(tests))
        values = [short(trial.values.get(path, "")) for path in [*("tuner/epochs" for _ in epochs), *paths]]
        rows.append([trial.trial_id, with_spread(trial.mean, trial.interval), len(tests), test, *values])
    remarks = [_told_apart(top)]
    if sweep.config.data.validation != "test":
        remarks.append("The test accuracy played no part in the choice.")
    command = f"python -m gnexp.train --config={shlex.quote(str(sweep.directory / 'best.py'))}"
    return _Section(
        heading,
        [
            "Means over the seeds, with their 95% interval where there are several."
            + (" A trial that another one went on from is left out: the other has its epochs too." if epochs else ""),
            _table(rows, ["trial", sweep.config.objective, "seeds", "test accuracy", *epochs, *paths]),
            " ".join(filter(None, remarks)),
            f"To train the best again:\n\n    {command}",
        ],
    )


def _told_apart(top: Sequence[Outcome]) -> str:
    best, *others = top
    if best.interval is None:
        return "One seed gives no interval: small differences between trials may be noise."
    if not others:
        return ""
    overlapping = sum(best.interval + (other.interval or 0) >= abs(best.mean - other.mean) for other in others)
    if not overlapping:
        return "The interval of the best overlaps with that of none of the others here."
    return (
        f"The interval of the best overlaps with those of {overlapping} of the {len(others)} others here: so few seeds "
        "do not tell these apart from it."
    )


def _curves(sweep: _Sweep) -> _Section:
    heading, objective = "Curves", sweep.config.objective
    if not sweep.best:
        return _Section(heading, ["No trial has completed yet."])
    figure = Figure(figsize=(11, 4), layout="constrained")
    over_epochs, over_trials = figure.subplots(1, 2)
    seeds = [[epoch[objective] for epoch in done.history] for done in sweep.best[0].results]
    histories = [
        np.mean([[epoch[objective] for epoch in done.history] for done in trial.results], axis=0)
        for trial in sweep.best
    ]
    by_epoch = np.array(list(itertools.zip_longest(*histories, fillvalue=math.nan)))
    low, median, high = np.nanpercentile(by_epoch, [25, 50, 75], axis=1)
    epochs = range(1, len(by_epoch) + 1)
    over_epochs.fill_between(epochs, low, high, color="C0", alpha=0.2, linewidth=0, label="the middle half")
    over_epochs.plot(epochs, median, ".-", color="C0", label=f"median of {_number(len(sweep.best), 'trial')}")
    for values in seeds if len(seeds) > 1 else []:
        over_epochs.plot(range(1, len(values) + 1), values, color="C1", linewidth=0.8, alpha=0.6)
    mean = histories[0]
    label = f"best: trial {sweep.best[0].trial_id}"
    over_epochs.plot(range(1, len(mean) + 1), mean, ".-", color="C1", linewidth=2, label=label)
    over_epochs.set(xlabel="epoch", ylabel=objective, title="Over a training")
    _fit(over_epochs, objective, [*low, *high, *itertools.chain(*seeds)])
    _best_so_far(over_trials, sweep)
    for axes in (over_epochs, over_trials):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        # Below, where there is nothing to hide.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, fontsize=8, frameon=False)
    text = "Left: the objective after each epoch."
    if len(seeds) > 1:
        text += " A trial is the mean over its seeds; the thin lines are the seeds of the best."
    if sweep.config.sweep.tuner == "hyperband":
        text += " At later epochs only those trials count that were trained for so long."
    return _Section(heading, [f"{text} Right: the trials in the order in which they were created."], "curves", figure)


def _best_so_far(axes: Axes, sweep: _Sweep) -> None:
    objective = sweep.config.objective
    numbers = [int(trial.trial_id) for trial in sweep.trials]
    scores = [trial.mean for trial in sweep.trials]
    known = [(number, score) for number, score in zip(numbers, scores, strict=True) if score is not None]
    axes.plot(*zip(*known, strict=True), "o", color="C0", markersize=4, alpha=0.5, label="a trial")
    curve = [math.nan if best is None else best for best in outcomes.best_so_far(scores, objective)]
    axes.step(numbers, curve, where="post", color="C1", label="best so far")
    failed = [int(trial.trial_id) for trial in sweep.trials if trial.status == outcomes.FAILED]
    if failed:
        bottom = axes.get_xaxis_transform()
        axes.plot(failed, [0.03] * len(failed), "x", color="C3", transform=bottom, label="a trial that failed")
    axes.set(xlabel="trial", ylabel=objective, title="Over the sweep")
    _fit(axes, objective, [score for _, score in known])


def _fit(axes: Axes, objective: str, scores: Sequence[float]) -> None:
    """Fits the vertical axis to the scores: the interval of a mean over few may well reach beyond all of them."""
    low, high = min(scores), max(scores)
    if configs.OBJECTIVES[objective] == "min" and high > 10 * low > 0:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        _label_logarithmic(axes.yaxis, low, high)
    else:
        margin = 0.08 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)


def _label_logarithmic(axis: Axis, low: float, high: float) -> None:
    """Labels few enough places between two ends that none overlap, and enough that the scale can be read."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _effects(sweep: _Sweep) -> _Section:
    heading, objective = "What each hyperparameter does", sweep.config.objective
    found = analysis.effects(sweep.space, sweep.counted, objective)
    found = sorted((effect for effect in found if effect.levels), key=lambda effect: effect.role != space.ROLES[0])
    if not found:
        return _Section(heading, ["No trial has ended yet."])
    caveat = (
        "A mean is over the trials that had a value, with its 95% interval over these trials. The other "
        f"hyperparameters varied among them as the tuner {_CHOSEN[sweep.config.sweep.tuner]}. What a value can give "
        "with the others well chosen is nearer to its best trial than to its mean. The picture "
        "ends where the scores do; an interval may reach further."
    )
    table = _table(effect_rows(found), EFFECT_HEADERS)
    return _Section(heading, [caveat, table], "effects", _effects_figure(sweep, found) if sweep.best else None)


def _effects_figure(sweep: _Sweep, found: Sequence[analysis.Effect]) -> Figure:
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(max(5, 4 * columns), 3.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(found) :]:
        axes.set_axis_off()
    for axes, effect in zip(grid.flat, found, strict=False):
        _effect(axes, effect, sweep)
    for axes in grid[:, 0]:
        axes.set_ylabel(sweep.config.objective)
    _fit(grid[0, 0], sweep.config.objective, [trial.mean for trial in sweep.best])
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _effect(axes: Axes, effect: analysis.Effect, sweep: _Sweep) -> None:
    path, levels = effect.path, effect.levels
    ended = [trial for trial in sweep.counted if trial.status != outcomes.RUNNING and path in trial.values]
    values = sorted({trial.values[path] for trial in ended})
    completed = [trial for trial in ended if trial.mean is not None]
    entries = [entry for entry in sweep.space.entries if entry.path == path]
    if sweep.space.listed(path):
        # A choice: its values, often powers of two, side by side, with their trials spread a little.
        spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(completed))
        dots = [values.index(trial.values[path]) for trial in completed] + spread
        places = range(len(values))
        names = [str(short(value)) for value in values]
        slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len("".join(names)) > 28 else {}
        axes.set_xticks(range(len(values)), names, **slanted)
        axes.set_xlim(-0.5, len(values) - 0.5)
    else:
        dots = [trial.values[path] for trial in completed]
        places = [level.center for level in levels]
        _span(axes, entries, sweep.space.logarithmic(path))
    axes.plot(dots, [trial.mean for trial in completed], "o", color="C0", markersize=4, alpha=0.35, label="a trial")
    means = [math.nan if level.mean is None else level.mean for level in levels]
    intervals = [math.nan if level.interval is None else level.interval for level in levels]
    label = "mean over trials, 95% interval"
    if len(levels) == 1 and not sweep.space.listed(path):
        # The mean of all trials says nothing of the place in the range where it would be drawn.
        places, means, intervals = [math.nan], [math.nan], [math.nan]
    axes.errorbar(places, means, intervals, fmt="_", color="black", markersize=9, capsize=3, label=label)
    axes.set_title(f"{path} ({effect.role})", fontsize=10)
    axes.tick_params(axis="x", which="both", labelsize=8)


def _span(axes: Axes, entries: Sequence[space.Entry], logarithmic: bool) -> None:
    """Lets the horizontal axis show the whole range that is searched."""
    ends = [end for entry in entries for end in (entry.values or (entry.low, entry.high))]
    low, high = min(ends), max(ends)
    if logarithmic and low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low * (low / high) ** 0.05, high * (high / low) ** 0.05)
        _label_logarithmic(axes.xaxis, low, high)
    else:
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=all(entry.kind == "int" for entry in entries)))


def _importance(sweep: _Sweep) -> _Section:
    heading, completed, paths = "Importance", len(sweep.best), sweep.space.searched
    scores = [trial.mean for trial in sweep.best]
    if completed < _FEWEST_FOR_FOREST:
        few = f"Left out: it takes {_FEWEST_FOR_FOREST} completed trials, and this sweep has {completed}."
        return _Section(heading, [few])
    if len(set(scores)) == 1:
        return _Section(heading, ["Left out: all trials have the same score."])
    columns = np.column_stack([_ranks([trial.values.get(path) for trial in sweep.best]) for path in paths])
    forest = RandomForestRegressor(n_estimators=100, oob_score=True, random_state=0).fit(columns, scores)
    found = permutation_importance(forest, columns, scores, n_repeats=_SHUFFLES, random_state=0)
    order = np.argsort(-found.importances_mean, kind="stable")
    names = [paths[index] for index in order]
    means, spreads = found.importances_mean[order], found.importances_std[order]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(paths)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, means, xerr=spreads, color="C0", alpha=0.7, capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel("by how much R\N{SUPERSCRIPT TWO} falls when the column is shuffled")
    text = (
        f"A random forest was fitted to the {completed} completed trials. Shuffling the column of an important "
        f"hyperparameter spoils its predictions; the spread is the standard deviation over {_SHUFFLES} shuffles. "
        "Of scores that it was not fitted to, the forest explains this share of the variance (out-of-bag "
        f"R\N{SUPERSCRIPT TWO}): {forest.oob_score_:.2f}."
    )
    if completed < _FEWEST_TO_RELY_ON:
        text += f" **Not to be relied on**: there are fewer than {_FEWEST_TO_RELY_ON} trials."
    elif forest.oob_score_ < _LOWEST_R2_TO_RELY_ON:
        text += f" **Not to be relied on**: that is below {_LOWEST_R2_TO_RELY_ON}."
    if any(entry.when for entry in sweep.space.entries):
        text += " A hyperparameter and another whose range hangs on it share their importance."
    rows = [[name, with_spread(mean, spread)] for name, mean, spread in zip(names, means, spreads, strict=True)]
    table = _table(rows, ["hyperparameter", "importance"])
    return _Section(heading, [text, table], "importance", figure)


def _ranks(values: Sequence[Any]) -> list[int]:
    """Returns each value's place among those that occur, -1 for None: of a number, a tree sees only the order."""
    ordered = sorted({value for value in values if value is not None})
    return [-1 if value is None else ordered.index(value) for value in values]


def _failures(sweep: _Sweep) -> _Section:
    failed = [trial for trial in sweep.trials if trial.status == outcomes.FAILED]
    rows = [[trial.trial_id, _code(trial.message or ""), in_words(trial.values)] for trial in failed]
    return _Section("Failures", [_table(rows, ["trial", "message", "values"]) if rows else "None."])


def _code(text: str) -> str:
    """Returns text for a cell of a Markdown table, in which nothing of it is taken for a mark."""
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`"


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        raise UserError(str(error)) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: the only one is --workdir=FOLDER")
    if not flags.FLAGS.workdir:
        raise UserError("--workdir is missing: it must be the folder of a sweep, such as runs/sweep")
    return rest


def main() -> None:
    """Runs the command line; see the module's docstring."""
    try:
        flags.DEFINE_string("workdir", None, "The folder of a sweep, finished or still running.")
        app.run(
            lambda _: print(report(pathlib.Path(flags.FLAGS.workdir).expanduser())),
            flags_parser=_parse,
        )
    except KeyboardInterrupt:
        print("gnexp: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except (GnexpError, OSError) as error:
        print(f"gnexp: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


if __name__ == "__main__":
    main()
