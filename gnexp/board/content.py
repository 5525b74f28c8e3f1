"""One sweep: what is searched, its trials as rows, and its answer."""

import collections
import dataclasses
import itertools
import pathlib
import statistics
import time
from typing import Any

from gnexp.analysis import answer_words, outcomes
from gnexp.analysis.answer import Answer
from gnexp.analysis.intervals import interval95
from gnexp.analysis.sweep import Swept
from gnexp.board.watched import Kept, Watched
from gnexp.config.objective import bounds, words
from gnexp.config.paths import flatten
from gnexp.errors import UserError
from gnexp.space.domain import in_order, is_numeric
from gnexp.workdir import files, result

_MOST_PROBLEMS = 20
_PAUSE = 10  # times as long as nearly all gaps between the ends of trials
_LEADING = 20  # trials that are named in the order of the sweep's ranking, which in a race is not that of their scores


def sweep(watched: Watched, version: str) -> dict[str, Any]:
    """Returns a sweep; of its trials only those that were read after a version, if that is known.

    Args:
      watched: the sweep, refreshed.
      version: as an earlier answer gave it, or "".
    """
    changed = watched.since(version)
    headline = watched.swept().headline.name
    rows = [
        _row(watched.setting(kept.outcome.trial_id), headline)
        for kept in (watched.trials.values() if changed is None else changed)
    ]
    found = {
        "version": watched.version,
        "all": changed is None,
        "complete": watched.complete,
        "trials": rows,
        **state(watched),
    }
    if changed is None:
        swept = watched.swept()
        config = swept.config
        found |= {
            "objective": config.objective,
            "direction": swept.objective.direction,
            "headline": words(swept.headline.name),
            "bounds": {"objective": bounds(config.objective), "headline": bounds(swept.headline.name)},
            "tuner": config.sweep.tuner,
            "seeds": config.sweep.executions,
            "columns": _columns(swept),
            "config": flatten(config),
            "kept": swept.kept,
            "chosen_on_test": config.data.validation == "test",
        }
    return found


def state(watched: Watched) -> dict[str, Any]:
    """Returns how far a sweep has got, and what cannot be read of it."""
    swept = watched.swept()
    count = collections.Counter(trial.status for trial in swept.trials)
    ended, problems = {}, list(watched.problems.values())
    try:
        ended = files.read_json(watched.directory / files.RESULT) or {}
    except UserError as error:
        problems.append(str(error))
    finished = swept.kept or ended.get("status") == result.SUCCESS
    last, expected = watched.last_sign(), len(swept.trials) if finished else answer_words.expected(swept)
    return {
        "counts": {status: count[status] for status in (outcomes.COMPLETED, outcomes.RUNNING, outcomes.FAILED)},
        "expected": expected,
        "finished": finished,
        "stopped": ended.get("message", ""),
        "best": _best(swept),
        "leading": [trial.trial_id for trial in swept.best[:_LEADING]],
        "last": last,
        "now": time.time(),
        "left": None if finished or swept.config.sweep.tuner == "racing" else _left(watched, expected),
        "problems": problems[:_MOST_PROBLEMS],
    }


def _best(swept: Swept) -> list[Any] | None:
    """Returns the best trial, with the mean of the objective and of the test figure over its seeds, each with ± 95%."""
    if not swept.best:
        return None
    best, *_ = swept.best
    (half, test_half), tests = swept.intervals[best.trial_id], [done.test[swept.headline.name] for done in best.results]
    return [best.trial_id, best.mean, half, statistics.fmean(tests), test_half]


def _left(watched: Watched, expected: int) -> float | None:
    """Returns how many seconds a sweep still takes if trials go on ending at the pace so far; None if unknown.

    A gap far longer than nearly all others is a pause, and no part of the pace.
    """
    ends = sorted(
        kept.ended for kept in watched.trials.values() if kept.ended and kept.outcome.status != outcomes.RUNNING
    )
    if len(ends) < 2:
        return None
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(ends))
    usual = gaps[int(0.9 * (len(gaps) - 1))]  # Where several workers end at once, most gaps are none.
    working = [gap for gap in gaps if gap <= _PAUSE * usual] if usual else gaps
    return max(0, expected - len(ends)) * statistics.fmean(working)


def _row(setting: list[Kept], headline: str) -> dict[str, Any]:
    """Returns a trial as the table shows it, with a test figure by its name; what is unknown is left out.

    The trial is the last of its setting, and its figures are over the seeds of all of them; only the time is its own.
    """
    kept = setting[-1]
    outcome = kept.outcome
    if outcome.status == outcomes.COMPLETED:
        outcome = dataclasses.replace(outcome, results=tuple(done for each in setting for done in each.outcome.results))
    found = {
        "id": outcome.trial_id,
        "status": outcome.status,
        "message": outcome.message,
        "values": outcome.values,
        "mean": outcome.mean,
        "interval": outcome.interval,
        "scores": outcome.scores,
        "seconds": sum(done.seconds for done in kept.outcome.results) if outcome.results else None,
        "trained": max(kept.epochs, default=None),
        "ended": kept.ended if outcome.status != outcomes.RUNNING else None,
    }
    if outcome.results:
        tests = [done.test[headline] for done in outcome.results]
        found |= {
            "tests": tests,
            "test": statistics.fmean(tests),
            "test_interval": interval95(tests),
            "test_loss": statistics.fmean(done.test["loss"] for done in outcome.results),
        }
    return {key: value for key, value in found.items() if value is not None}


def _columns(swept: Swept) -> list[dict[str, Any]]:
    space, own = swept.space, flatten(swept.config)
    found = []
    for path in space.searched:
        entries = space.of(path)
        values = sorted({value for entry in entries for value in entry.values}, key=in_order)
        ends = [end for entry in entries for end in (entry.values or (entry.low, entry.high))]
        numeric = all(map(is_numeric, ends))
        found.append(
            {
                "path": path,
                "role": space.role(path),
                "numeric": numeric,
                "listed": space.listed(path),
                "log": numeric and min(ends) > 0 and _logarithmic(swept, path, ends),
                "values": values,
                "range": [min(ends), max(ends)] if numeric else None,
                "conditional": any(entry.when for entry in entries),
                "own": own.get(path),
            }
        )
    extra = dict.fromkeys(path for trial in swept.trials for path in trial.values if path.startswith("tuner/"))
    for path in extra:
        numeric = path != outcomes.PROMOTED_FROM
        found.append(
            {"path": path, "role": "tuner", "numeric": numeric, "listed": False, "log": False, "values": []}
            | {"range": None, "conditional": False, "own": None}
        )
    return found


def _logarithmic(swept: Swept, path: str, ends: list[float]) -> bool:
    if swept.space.listed(path):
        return max(ends) >= 50 * min(ends)
    return swept.space.logarithmic(path)


def answer(swept: Swept) -> dict[str, Any]:
    """Returns a sweep's answer: its tables, and for a picture each combination with its seeds' test figures."""
    told = answer_words.tell(swept)
    found = {**dataclasses.asdict(dataclasses.replace(told, found=())), "points": list(map(_point, told.found))}
    return found | {"headers_of_differences": answer_words.HEADERS_OF_DIFFERENCES}


def _point(each: Answer) -> dict[str, Any]:
    tests = each.tests
    return {
        "values": each.values,
        "trial": each.chosen.trial_id if each.chosen else None,
        "tests": tests,
        "test": statistics.fmean(tests) if tests else None,
        "interval": each.test_interval,
        "seconds": sum(done.seconds for done in each.chosen.results) if each.chosen else None,
        "edges": each.edges,
        "failed": each.failed,
    }


def importance(swept: Swept) -> dict[str, Any]:
    """Returns how important each hyperparameter is; see `gnexp.analysis.importance.Importance`."""
    from gnexp.analysis import importance  # Takes a second.

    return vars(importance.importance(swept))


def name_of_network(config: dict[str, Any]) -> str:
    """Returns what a flat config says of its network, in one word or a few."""
    norm = str(config.get("model.norm", ""))
    groups = config.get("model.groups", "") if norm == "group" else ""
    return f"{config.get('model.name', '')} {norm}{groups}".strip()


def title(directory: pathlib.Path, name: str) -> str:
    """Returns what a folder is called: its path under the logdir, or its own name."""
    return directory.resolve().name if name == "." else name
