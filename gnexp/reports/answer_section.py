"""The section of a sweep's page that answers what the sweep asks, with its picture."""

import statistics
from collections.abc import Sequence
from typing import Any

from gnexp.analysis import answer, outcomes
from gnexp.analysis.answer import Answer, Difference
from gnexp.analysis.intervals import interval95
from gnexp.analysis.sweep import Swept
from gnexp.reports import answer_plots, page
from gnexp.reports.page import Section
from gnexp.terminal.words import in_words, short, with_spread

_HEADING = "What the sweep asks"
# The other tuners look where they expect good scores, so that they may hardly have tried a combination.
_FAIR = ("grid", "random")


def section(sweep: Swept) -> Section:
    """Returns the section; if it would be empty or unfair, it only says why."""
    paths = answer.scientific(sweep)
    if sweep.config.sweep.tuner not in _FAIR:
        return _left_out(f"the tuner {sweep.config.sweep.tuner} gives some combinations fewer trials than others")
    if not paths:
        return _left_out("nothing that is searched is scientific")
    ranges = [path for path in paths if not sweep.space.listed(path)]
    if ranges and sweep.config.sweep.tuner != "grid":
        return _left_out(f"{ranges[0]} is searched over a range; as a choice, its values would be comparable")
    found = answer.answers(sweep)
    if not any(each.chosen for each in found):
        return _left_out("no trial has completed yet")
    if not any(each.values for each in found):
        return _left_out("none of the trials that have ended has a value of what the sweep asks about")
    axis = answer.axis(found)
    figure = answer_plots.error(found, axis)
    return Section(
        _HEADING, [_how(sweep, found), _table(sweep, found), *_compared(sweep, found, axis)], "answer", figure
    )


def _left_out(why: str) -> Section:
    return Section(_HEADING, [f"Left out: {why}."])


def _how(sweep: Swept, found: Sequence[Answer]) -> str:
    asked, tuned = _joined(answer.scientific(sweep)), _joined(answer.nuisance(sweep))
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
    counts = [each.completed + each.failed for each in found]
    if min(counts) < max(counts):
        text += f" **They had {min(counts)} to {max(counts)} trials each**: more trials choose better."
    expected, ended = _expected(sweep), sum(trial.status != outcomes.RUNNING for trial in sweep.trials)
    if ended < expected:
        text += f" **{ended} of {expected} trials have ended so far**: choices and verdicts may change."
    edges = sum(bool(each.edges) for each in found)
    if edges:
        choices = page.count(sum(each.chosen is not None for each in found), "choice")
        text += f" **At an edge of what was searched, which should be widened there: {edges} of {choices}.**"
    return text


def _expected(sweep: Swept) -> int:
    size = sweep.space.grid_size() if sweep.config.sweep.tuner == "grid" else sweep.space.size()
    return int(min(sweep.config.sweep.max_trials, size))


def _joined(paths: Sequence[str]) -> str:
    """Returns paths as a sentence lists them: with commas, and "and" before the last."""
    if len(paths) < 2:
        return "".join(paths)
    return f"{', '.join(paths[:-1])} and {paths[-1]}"


def _words(each: Answer) -> str:
    return in_words(each.values) or "no value"


def _table(sweep: Swept, found: Sequence[Answer]) -> str:
    asked, tuned = answer.scientific(sweep), answer.nuisance(sweep)
    rows = []
    for each in found:
        values: dict[str, Any] = each.chosen.values if each.chosen else {}
        rows.append(
            [
                *(short(each.values.get(path, "")) for path in asked),
                *(short(values.get(path, "")) + (" (edge)" if path in each.edges else "") for path in tuned),
                with_spread(each.chosen.mean, each.chosen.interval) if each.chosen else "",
                with_spread(statistics.fmean(each.tests), interval95(each.tests)) if each.chosen else "",
                len(each.tests) or "",
                each.completed,
                each.failed or "",
            ]
        )
    chosen = [f"{path}, chosen" for path in tuned]
    return page.table(rows, [*asked, *chosen, sweep.config.objective, "test accuracy", "seeds", "trials", "failed"])


def _compared(sweep: Swept, found: Sequence[Answer], axis: str) -> list[str]:
    paths = answer.scientific(sweep)
    # If some answers lack a path, as with `by`, no family has all the others to compare.
    within = axis if len(paths) > 1 and all(len(each.values) == len(paths) for each in found) else None
    compared = answer.differences(sweep, found, within)
    if not compared:
        return ["There is nothing to compare with an interval: that takes two combinations with two seeds each."]
    where = f", at each {within}" if within else ""
    if not all(answer.is_own(sweep, difference.control, within) for difference in compared):
        where += f" (where no trial with these completed, against the best by {sweep.config.objective})"
    text = (
        f"Against the config's own values{where}: the difference in test accuracy, paired over the seeds, with "
        "its 95% interval (Student's t). One such interval in twenty misses the truth by chance; p is after Holm's "
        f"correction for their number, {len(compared)}. Seeds do not show what another choice of training or test "
        "images would change."
    )
    headers = ["control", "other", "other minus control", "p", ""]
    if answer.nuisance(sweep):
        text += " The trials were chosen with the same seeds that are compared, which makes p somewhat too small."
    return [text, page.table([_row(difference) for difference in compared], headers)]


def _row(difference: Difference) -> list[str]:
    spread = f"{difference.mean:+.4f} \N{PLUS-MINUS SIGN} {difference.interval:.4f}"
    p = "" if difference.verdict == answer.NO_SPREAD else f"{difference.p:.2g}"
    return [_words(difference.control), _words(difference.other), spread, p, difference.verdict]
