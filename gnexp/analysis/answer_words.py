"""The answer to a sweep's question, in words and in the cells of tables."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from gnexp.analysis import answer, comparisons, intervals, outcomes
from gnexp.analysis.answer import Answer, Difference
from gnexp.analysis.intervals import with_spread
from gnexp.analysis.sweep import Swept
from gnexp.config.objective import bounds, words
from gnexp.config.paths import flatten
from gnexp.space.space import Space
from gnexp.terminal.words import count, in_words, short

if TYPE_CHECKING:
    from gnexp.analysis.response import Curve, Response

HEADERS_OF_DIFFERENCES = ("control", "other", "other minus control", "p", "")
_SMALL = 1e-3  # below which four decimals hold too little of a difference
# The other tuners look where they expect good scores, so that they may hardly have tried a combination.
_FAIR = ("grid", "random", "racing")


@dataclasses.dataclass(frozen=True)
class Told:
    """An answer in words; `**` stands before and after what is important.

    Attributes:
      left_out: why there is no answer; "" if there is one, and only then the rest says something.
      found: an `Answer` for each combination of the scientific hyperparameters.
      axis: the path for a picture's horizontal axis.
      how: how the table came about, and what weakens it.
      headers, rows: the table, a row for each of `found`.
      compared: what `differences` are.
      differences: a row with `HEADERS_OF_DIFFERENCES` for each comparison.
      curves: for a picture, where a model answers instead of comparisons.
    """

    left_out: str = ""
    found: Sequence[Answer] = ()
    axis: str = ""
    how: str = ""
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    compared: str = ""
    differences: Sequence[Sequence[str]] = ()
    curves: Sequence["Curve"] = ()


def tell(sweep: Swept) -> Told:
    """Returns a sweep's answer in words; if it would be empty or unfair, only why it is left out."""
    paths, tuned = sweep.space.asked, sweep.space.tuned
    if not paths:
        return Told("nothing that is searched is scientific, so that the sweep only asks for the best trial")
    if why := modelled(sweep.config, sweep.space):
        return _by_model(sweep, why)
    found = answer.answers(sweep)
    if not any(each.chosen for each in found):
        return Told("no trial has completed yet")
    if not any(each.values for each in found):
        return Told("none of the trials that have ended has a value of what the sweep asks about")
    axis = comparisons.axis([each.values for each in found])
    chosen = [f"{path}, chosen" for path in tuned]
    figures = [sweep.config.objective, f"test {words(sweep.headline.name)}"]
    headers = [*paths, *chosen, *figures, "seeds", "trials", "failed"]
    compared, differences = _compared(sweep, found)
    return Told("", found, axis, _how(sweep, found), headers, _rows(sweep, found), compared, differences)


def modelled(config: ConfigDict, space: Space) -> str:
    """Returns why a sweep is answered by a model of its trials instead of by comparing them; "" if it is not."""
    tuner, ranges = config.sweep.tuner, [path for path in space.asked if not space.listed(path)]
    if tuner not in _FAIR:
        return f"the tuner {tuner} gives some combinations fewer trials than others"
    if tuner == "random" and ranges:
        return f"{ranges[0]} is searched over a range, so that hardly two trials share a value"
    if tuner == "random" and space.tuned and space.size() + space.beside(config) > config.sweep.max_trials:
        return f"the tuner random draws {_joined(space.tuned)} for each trial, so that combinations had other values"
    return ""


def _by_model(sweep: Swept, why: str) -> Told:
    from gnexp.analysis import response  # Takes a second.

    found, goal = response.response(sweep), sweep.config.objective
    if not found.trials:
        return Told("no trial has completed yet")
    epochs = " Trials with fewer epochs tell the model what they do; what it says is of all epochs."
    text = (
        f"Combinations cannot be compared one by one: {why}. So this is of all {found.trials} completed trials, "
        f"for each hyperparameter by itself. {_fit(found, goal)}"
        f"{epochs if found.holds and sweep.config.sweep.tuner == 'hyperband' else ''}"
    )
    headers = [
        "hyperparameter",
        "value",
        "trials",
        "failed",
        f"best {goal}",
        f"mean {goal}",
        "difference, by the model",
    ]
    rows = [
        [
            row.path,
            row.level.name,
            len(row.level.scores),
            row.level.failed or "",
            with_spread(row.level.best, None),
            with_spread(row.level.mean, None),
            "" if row.difference is None else _interval(row.difference, row.low, row.high),
        ]
        for row in found.rows
    ]
    return Told(how=text, headers=headers, rows=rows, curves=found.curves)


def _interval(middle: float, low: float, high: float) -> str:
    digits = "+.4f" if max(abs(low), abs(high)) >= _SMALL else "+.3g"
    return f"{middle:{digits}} ({low:{digits}} to {high:{digits}})"


def _fit(found: "Response", goal: str) -> str:
    """Returns what the model is, or why there is none and what it would take."""
    square = "R\N{SUPERSCRIPT TWO}"
    if found.holds:
        fitted = "them" if found.fitted == found.trials else f"{found.fitted} of them, good and bad"
        return (
            f"A Gaussian process was fitted to {fitted}; of trials that are left out, one at a time, it explains this "
            f"share of the variance ({square}): {found.r2:.2f}. The difference is what it expects of {goal} if all "
            "trials had a value, against the first row of the hyperparameter, with its 95% interval, which is not "
            "corrected for the number of rows. **It is of validation figures, and of a model**: a grid or a race over "
            "a few of these values compares them on test figures."
        )
    alone = "Only the trials are shown: a mean depends on what the other hyperparameters happened to be."
    if found.r2 is None:
        return (
            f"**A model takes {found.fewest} completed trials** with different scores, four for each column of the "
            f"searched hyperparameters, and some with all epochs. {alone}"
        )
    return (
        f"**No model holds**: a Gaussian process explains {found.r2:.2f} of the variance ({square}) of trials that are "
        f"left out, one at a time, where {found.lowest:g} are needed. {alone} About {2 * found.trials} trials, more "
        "seeds, or fewer searched hyperparameters may make one hold."
    )


def expected(sweep: Swept) -> int:
    """Returns how many trials the sweep will have."""
    # How many trainings a race takes depends on what it finds.
    return len(sweep.trials) if sweep.config.sweep.tuner == "racing" else sweep.space.trials(sweep.config)


def _how(sweep: Swept, found: Sequence[Answer]) -> str:
    asked, tuned = _joined(sweep.space.asked), _joined(sweep.space.tuned)
    if tuned:
        text = (
            f"For each combination of {asked}, the trial with the best mean {sweep.config.objective} over its seeds "
            f"was taken: that chose {tuned}. "
        )
    else:
        text = f"Nothing was tuned for the combinations of {asked}. "
    if sweep.config.data.validation == "test":
        text += "**The choice was made on the test set**, so that the test figures flatter."
    else:
        text += "The test set chose nothing; its figures are of these trials' best epochs."
    if aside := answer.own_aside(sweep):
        half, _ = sweep.intervals.get(aside.trial_id, (None, None))
        score = with_spread(aside.mean, half, bounds(sweep.objective.name)) or aside.status
        text += (
            f" The config's own values, trial {aside.trial_id}, lie beside what is searched ({sweep.config.objective} "
            f"{score}): no other combination was tried with them, so that they choose nothing and are not compared."
        )
    tried = [each.completed + each.failed for each in found if not each.aside]
    if tried and min(tried) < max(tried):
        text += f" **They had {min(tried)} to {max(tried)} trials each**: more trials choose better."
    most, ended = expected(sweep), sum(trial.status != outcomes.RUNNING for trial in sweep.trials)
    if sweep.config.sweep.tuner == "racing" and not sweep.finished:
        text += " **The race has not ended**: choices and verdicts may change."
    elif sweep.ended_by:
        text += f" **The race was not over**: {sweep.ended_by}."
    elif ended < most:
        text += f" **{ended} of {most} trials have ended so far**: choices and verdicts may change."
    edges = sum(bool(each.edges) and not each.aside for each in found)
    if edges:
        choices = count(sum(each.chosen is not None and not each.aside for each in found), "choice")
        text += f" **At an edge of what was searched, which should be widened there: {edges} of {choices}.**"
    return text


def _joined(paths: Sequence[str]) -> str:
    """Returns paths as a sentence lists them: with commas, and "and" before the last."""
    if len(paths) < 2:
        return "".join(paths)
    return f"{', '.join(paths[:-1])} and {paths[-1]}"


def _words(each: Answer) -> str:
    return in_words(each.values) or "no value"


def _rows(sweep: Swept, found: Sequence[Answer]) -> list[list[Any]]:
    asked, tuned = sweep.space.asked, sweep.space.tuned
    of_score, of_test = bounds(sweep.objective.name), bounds(sweep.headline.name)
    rows = []
    for each in found:
        values: dict[str, Any] = each.chosen.values if each.chosen else {}
        rows.append(
            [
                *(short(each.values.get(path, "")) for path in asked),
                *(short(values.get(path, "")) + (" (edge)" if path in each.edges else "") for path in tuned),
                with_spread(each.chosen.mean, each.interval, of_score) if each.chosen else "",
                with_spread(statistics.fmean(each.tests), each.test_interval, of_test) if each.chosen else "",
                len(each.tests) or "",
                each.completed,
                each.failed or "",
            ]
        )
    return rows


def _compared(sweep: Swept, found: Sequence[Answer]) -> tuple[str, list[list[str]]]:
    within = comparisons.within([each.values for each in found], sweep.space.asked)
    compared = answer.differences(sweep, found, within)
    if not compared:
        return "There is nothing to compare with an interval: that takes two combinations with two seeds each.", []
    where = f", at each {within}" if within else ""
    own = flatten(sweep.config)
    if not all(comparisons.is_own(difference.control.values, own, within) for difference in compared):
        where += (
            f" (where no trial with these is compared, against the best by {sweep.config.objective}, and p is for all "
            "pairs)"
        )
    text = (
        f"Against the config's own values{where}: the difference in test {words(sweep.headline.name)}, paired over the "
        "seeds, with its 95% interval (Student's t, cut off at what a difference can be; trials share their spread as "
        "far as they are alike). One such interval in twenty misses the truth by chance; "
        f"p is after Holm's correction for their number, {compared[0].among}. Seeds do not show what another choice of "
        "training or test images would change."
    )
    if sweep.config.sweep.tuner == "racing":
        text += (
            " A race ends a comparison by what it sees: the 5% of false findings are divided between its looks, and "
            "with few seeds a lower p is needed."
        )
    text += _power(compared)
    if sweep.space.tuned:
        text += " The trials were chosen with the same seeds that are compared, which makes p somewhat too small."
    alone = answer.by_itself(sweep, found)
    if alone:
        text += (
            " The rows at the end are of one hyperparameter by itself, the mean over the combinations of the others "
            "(their number in parentheses) where both values have several seeds; they are corrected among themselves."
        )
    return text, [_row(difference, bounds(sweep.headline.name)) for difference in [*compared, *alone]]


def _power(compared: Sequence[Difference]) -> str:
    """Returns how many seeds would decide what stays open."""
    largest = max((each for each in compared if each.open), key=lambda each: abs(each.mean), default=None)
    if largest is None:
        return ""
    said = f" The largest difference that stays open is {abs(largest.mean):.2g}"
    if largest.seeds is None:
        return f"{said}: a thousand seeds would hardly tell it from 0."
    return (
        f"{said}: **if it is real, about {largest.seeds} seeds each would tell it from 0**, with this spread and in "
        "four sweeps of five; one half as large takes about four times as many."
    )


def _row(difference: Difference, figure: tuple[float, float]) -> list[str]:
    spread = with_spread(difference.mean, difference.interval, intervals.bounds_of_difference(figure), sign="+")
    p = "" if difference.verdict == answer.NO_SPREAD else f"{difference.p:.2g}"
    over = f" (mean over {difference.over})" if difference.over else ""
    return [_words(difference.control), _words(difference.other) + over, spread, p, difference.verdict]
