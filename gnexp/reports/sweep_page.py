"""The report of a sweep, also while it runs."""

import collections
import pathlib
import shlex
import statistics
from collections.abc import Sequence

from gnexp.analysis import effects, importance, outcomes
from gnexp.analysis.intervals import with_spread
from gnexp.analysis.outcomes import Outcome
from gnexp.analysis.sweep import Swept, read_sweep
from gnexp.config.objective import bounds, words
from gnexp.reports import answer_section, page, sweep_plots
from gnexp.reports.page import Section
from gnexp.space.entries import ROLES
from gnexp.terminal.words import count, in_words, short

_TOP = 10
_BETTER = {"max": "higher is better", "min": "lower is better"}
_RUNGS = ("hyperband", "racing")  # the tuners that choose the epochs
_CHOSEN = {
    "random": "drew them, at random",
    "grid": "went through them, in order, which is balanced where the grid is finished and no hyperparameter depends "
    "on another",
    "bayesian": "chose them, more often where it expected good scores: **the means are biased by where it looked**",
    "racing": "raced them, and a trial that it dropped counts with the score of its few epochs and its one seed: "
    "**the means are biased by that**",
    "hyperband": "chose them, and a trial that it did not promote counts with the score of the few epochs that it had: "
    "**the means are biased by where it looked**, and by which trials it trained for longer",
}


def write(directory: pathlib.Path) -> pathlib.Path:
    """Writes the page of the sweep in a workdir, replacing an earlier one, and returns its path.

    Raises:
      UserError: there is no sweep; nothing is written.
    """
    sweep = read_sweep(directory)
    sections = [
        answer_section.section(sweep),
        _best(sweep),
        _curves(sweep),
        _effects(sweep),
        _importance(sweep),
        _failures(sweep),
    ]
    return page.write(directory, _introduction(sweep), sections, board=not sweep.kept)


def _introduction(sweep: Swept) -> str:
    asked, settings = sweep.config, sweep.config.sweep
    statuses = collections.Counter(trial.status for trial in sweep.trials)
    ended = f"{count(statuses[outcomes.COMPLETED], 'trial')} completed, {statuses[outcomes.FAILED]} failed"
    images = f"the first {asked.data.train_size}" if asked.data.train_size else "all"
    if "epochs" in sweep.space.paths:
        epochs = "a number of epochs that is searched"
    else:
        epochs = f"{'up to ' if settings.tuner in _RUNGS else ''}{count(asked.epochs, 'epoch')}"
    racing = settings.tuner == "racing"
    most = f"{settings.max_trials} settings" if racing else sweep.space.trials(asked)
    seeds = f"{'up to ' if racing else ''}{count(settings.executions, 'seed')}"
    validation, fallback = asked.data.validation, asked.data.fallback
    if validation == "test":
        measured = (
            "the test set. **So the choice was made on the test set**, and the test figures below are no estimate "
            "of what the best trial does on images that it has not seen."
        )
    else:
        share = f"{validation:.4g}" if isinstance(validation, int) else f"{100 * validation:.4g}%"
        measured = f"{share} of the training images, held out."
    return (
        f"# Sweep {sweep.directory.resolve().name}\n\n"
        f"Dataset {asked.data.name}{' (the fallback for the one that was asked for)' if fallback else ''}, trained on "
        f"{images} of its training images for {epochs}. Tuner {settings.tuner}: {ended}, "
        f"{statuses[outcomes.RUNNING]} running or interrupted, of at most {most}; "
        f"{seeds} per trial. The objective is {asked.objective} "
        f"({_BETTER[sweep.objective.direction]}) of each training's best epoch, on {measured}"
        + page.remarks([sweep.directory])
    )


def _best(sweep: Swept) -> Section:
    heading = "The best trials"
    if not sweep.best:
        return Section(heading, ["No trial has completed yet."])
    top, paths, headline = sweep.best[:_TOP], sweep.space.searched, words(sweep.headline.name)
    epochs = ["epochs"] if sweep.config.sweep.tuner in _RUNGS else []
    rows = []
    for trial in top:
        tests = [done.test[sweep.headline.name] for done in trial.results]
        half, test_half = sweep.intervals[trial.trial_id]
        test = with_spread(statistics.fmean(tests), test_half, bounds(sweep.headline.name))
        values = [short(trial.values.get(path, "")) for path in [*(["tuner/epochs"] if epochs else []), *paths]]
        score = with_spread(trial.mean, half, bounds(sweep.objective.name))
        rows.append([trial.trial_id, score, len(tests), test, *values])
    remarks = [_told_apart(top, [sweep.intervals[trial.trial_id][0] for trial in top])]
    if sweep.config.data.validation != "test":
        remarks.append(f"The test {headline} played no part in the choice.")
    command = f"python -m gnexp.train --config={shlex.quote(str(sweep.directory / 'best.py'))}"
    again = [] if sweep.kept else [f"To train the best again:\n\n    {command}"]
    return Section(
        heading,
        [
            "Means over the seeds, with their 95% interval (Student's t, by the spread of all trials as far as they "
            "are alike, cut off at what the figure can be) where there are several."
            + (
                " A trial that was promoted is left out: the trial that resumed it has its epochs too."
                if epochs
                else ""
            ),
            page.table(rows, ["trial", sweep.config.objective, "seeds", f"test {headline}", *epochs, *paths]),
            " ".join(filter(None, remarks)),
            *again,
        ],
    )


def _told_apart(top: Sequence[Outcome], halves: Sequence[float | None]) -> str:
    (best, *others), (half, *_) = top, halves
    if half is None:
        return "One seed gives no interval: small differences between trials may be noise."
    if not others:
        return ""
    overlapping = sum(
        half + (theirs or 0) >= abs(best.mean - other.mean) for other, theirs in zip(others, halves[1:], strict=True)
    )
    if not overlapping:
        return "The interval of the best overlaps with that of none of the others here."
    return (
        f"The interval of the best overlaps with those of {overlapping} of the {len(others)} others here: these "
        "intervals alone do not tell it from them."
    )


def _curves(sweep: Swept) -> Section:
    heading = "Curves"
    if not sweep.best:
        return Section(heading, ["No trial has completed yet."])
    text = "Left: the objective after each epoch."
    if len(sweep.best[0].results) > 1:
        text += " A trial is the mean over its seeds; the thin lines are the seeds of the best."
    if sweep.config.sweep.tuner in _RUNGS:
        text += " At later epochs only the trials count that were trained for that long."
    text += " Right: the trials in the order in which they were created."
    return Section(heading, [text], "curves", sweep_plots.curves(sweep))


def _effects(sweep: Swept) -> Section:
    heading, grid = "What each hyperparameter does", sweep.config.sweep.tuner == "grid"
    found = effects.effects(sweep.config, sweep.space, sweep.counted)
    found = sorted((effect for effect in found if effect.levels), key=lambda effect: effect.role != ROLES[0])
    if not found:
        return Section(heading, ["No trial has ended yet."])
    interval = "" if grid else ", with its 95% interval over these trials, cut off at what the figure can be"
    caveat = (
        f"A mean is over the trials that had a value{interval}. The other hyperparameters varied among them as the "
        f"tuner {_CHOSEN[sweep.config.sweep.tuner]}. What a value can give with the others well chosen is nearer to "
        "its best trial than to its mean."
    )
    if not grid:
        caveat += " The picture ends where the scores do; an interval may reach further."
    table = page.table(effects.rows(found, sweep.objective), effects.HEADERS)
    return Section(heading, [caveat, table], "effects", sweep_plots.effects(sweep, found) if sweep.best else None)


def _importance(sweep: Swept) -> Section:
    heading, found = "Importance", importance.importance(sweep)
    if found.left_out:
        return Section(heading, [f"Left out: {found.left_out}."])
    rows = [
        [path, with_spread(mean, spread)]
        for path, mean, spread in zip(found.paths, found.means, found.spreads, strict=True)
    ]
    table = page.table(rows, ["hyperparameter", "importance"])
    figure = sweep_plots.importance(found.paths, found.means, found.spreads)
    return Section(heading, [found.text, table], "importance", figure)


def _failures(sweep: Swept) -> Section:
    failed = [trial for trial in sweep.trials if trial.status == outcomes.FAILED]
    rows = [[trial.trial_id, page.code(trial.message or ""), in_words(trial.values)] for trial in failed]
    return Section("Failures", [page.table(rows, ["trial", "message", "values"]) if rows else "None."])
