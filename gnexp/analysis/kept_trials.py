"""A sweep's trials as one CSV table, to be kept in a repository."""

import csv
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from gnexp.analysis.outcomes import COMPLETED, FAILED, RUNNING, Outcome, own_seed
from gnexp.config.upgrade import renamed
from gnexp.errors import DamagedError
from gnexp.workdir import files, result
from gnexp.workdir.result import Result

# Each finished execution has a row. A trial without any has one row, in which these columns are empty.
_FIGURES = ("seed", "best_value", "best_epoch", "seconds", "history")
_TEST = "test_"  # and a column for each test figure, such as test_accuracy
_KNOWN = ("trial", "status", "message", *_FIGURES)


def write(directory: pathlib.Path, outcomes: Sequence[Outcome], first_seed: int) -> None:
    """Writes trials as one table that `read` can read; of each epoch it keeps only the objective.

    Args:
      directory: where the table goes.
      outcomes: the trials.
      first_seed: the seed of each trial's first execution.
    """
    paths = list(dict.fromkeys(path for outcome in outcomes for path in outcome.values))
    tests = list(dict.fromkeys(name for outcome in outcomes for done in outcome.results for name in done.test))
    columns = ["seed", "best_value", "best_epoch", *(f"{_TEST}{name}" for name in tests), "seconds", "history"]
    with files.atomic(directory / files.KEPT) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", "status", "message", *paths, *columns])
        for outcome in outcomes:
            values = [_cell(outcome.values[path]) if path in outcome.values else "" for path in paths]
            for seed, done in enumerate(outcome.results or [None], own_seed(outcome.values, first_seed)):
                figures = [seed, *_figures(done, tests)] if done else [""] * len(columns)
                writer.writerow([outcome.trial_id, outcome.status, outcome.message or "", *values, *figures])


def _figures(done: Result, tests: Sequence[str]) -> list[Any]:
    history = " ".join(repr(epoch[done.objective]) for epoch in done.history)
    return [done.best_value, done.best_epoch, *(done.test.get(name, "") for name in tests), done.seconds, history]


def read(path: pathlib.Path, config: dict[str, Any]) -> list[Outcome]:
    """Returns the trials that `write` wrote.

    Args:
      path: of the table.
      config: the sweep's, as plain nested dicts.

    Raises:
      DamagedError: it is not such a table.
    """
    trials: dict[str, list[dict[str, str]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [column for column in _KNOWN if column not in (reader.fieldnames or ())]:
                raise ValueError(f"it has no column {missing[0]!r}")
            for row in reader:
                trials.setdefault(row["trial"], []).append(row)
        return [_outcome(trial_id, rows, config) for trial_id, rows in trials.items()]
    except (AttributeError, TypeError, ValueError, csv.Error) as error:
        raise DamagedError(path, error, "restore it") from error


def _outcome(trial_id: str, rows: Sequence[dict[str, str]], config: dict[str, Any]) -> Outcome:
    status, results = rows[0]["status"], tuple(_result(row, config) for row in rows if row["seed"])
    if status not in (COMPLETED, FAILED, RUNNING) or (status == COMPLETED and not results):
        raise ValueError(f"trial {trial_id} has the status {status!r} and {len(results)} results")
    return Outcome(
        trial_id=trial_id,
        values={renamed(path): _value(cell) for path, cell in rows[0].items() if not _is_known(path) and cell},
        status=status,
        message=rows[0]["message"] or None,
        results=results,
    )


def _is_known(column: str) -> bool:
    # A hyperparameter is a dotted path, or the name of a key without a section.
    return column in _KNOWN or column.startswith(_TEST)


def _result(row: dict[str, str], config: dict[str, Any]) -> Result:
    objective, data = config["objective"], config["data"]
    history = [{"epoch": epoch, objective: finite(text)} for epoch, text in enumerate(row["history"].split(), 1)]
    best_epoch = int(row["best_epoch"])
    if not 1 <= best_epoch <= len(history):
        raise ValueError(f"best_epoch is {best_epoch}, of {len(history)} epochs")
    return Result(
        status=result.SUCCESS,
        dataset=data["name"],
        validation=data["validation"],
        objective=objective,
        best_epoch=best_epoch,
        history=history,
        test={name.removeprefix(_TEST): finite(row[name]) for name in row if name.startswith(_TEST)},
        **{name: finite(row[name]) for name in ("best_value", "seconds")},
    )


def finite(cell: str) -> float:
    """Returns the number in a cell; raises ValueError if it is none, or not finite."""
    if math.isfinite(number := float(cell)):
        return number
    raise ValueError(f"{cell!r} is not a finite number")


def _cell(value: Any) -> str:
    """Returns a value as `_value` reads it; text that would be read as none, or as something else, is quoted."""
    return value if isinstance(value, str) and value and _value(value) == value else json.dumps(value)


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:  # a string
        return cell
