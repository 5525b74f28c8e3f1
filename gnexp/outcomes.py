"""What came of a sweep's trials: read from its workdir, without TensorFlow, also while the sweep runs."""

import csv
import dataclasses
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from scipy import stats

from gnexp import result, workdir
from gnexp.config.objective import OBJECTIVES
from gnexp.errors import UserError
from gnexp.result import Result

COMPLETED = "completed"
FAILED = "failed"
RUNNING = "running"

ORACLE = "oracle"
TRIALS = "trials"
KEPT = "trials.csv"
PROMOTED_FROM = "tuner/trial_id"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One trial of a sweep.

    Attributes:
      trial_id: four digits.
      values: the hyperparameters by dotted path; a hyperband trial has `tuner/...` entries besides.
      status: COMPLETED, FAILED or RUNNING.
      message: why it failed, or None.
      results: the `Result` of each execution that finished, in the order of their seeds.
    """

    trial_id: str
    values: dict[str, Any]
    status: str
    message: str | None
    results: tuple[Result, ...]

    @property
    def scores(self) -> list[float]:
        """The objective's best value of each execution."""
        return [done.best_value for done in self.results]

    @property
    def mean(self) -> float | None:
        """The trial's score: the mean over its executions; None where it did not complete."""
        return statistics.fmean(self.scores) if self.status == COMPLETED else None

    @property
    def interval(self) -> float | None:
        """Half the width of the mean's 95% interval; None with fewer than two executions."""
        return interval95(self.scores) if self.status == COMPLETED else None


def interval95(values: Sequence[float]) -> float | None:
    """Returns half the width of the 95% interval of a mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def folder(directory: pathlib.Path, trial_id: str) -> pathlib.Path:
    """Returns where a trial of the sweep in `directory` lies; each of its executions has a folder in it."""
    return directory / TRIALS / trial_id


def execution(trial: pathlib.Path, seed: int) -> pathlib.Path:
    """Returns where the execution with a seed lies in the folder of its trial."""
    return trial / f"seed-{seed}"


def is_sweep(directory: pathlib.Path) -> bool:
    """Tells whether a folder is the workdir of a sweep, or what was kept of one."""
    config = workdir.read_json(directory / workdir.CONFIG)
    return isinstance(config, dict) and "sweep" in config


def read(directory: pathlib.Path) -> list[Outcome]:
    """Returns the trials of the sweep in a workdir, in the order in which they were created.

    Raises:
      UserError: there is no sweep.
    """
    if not is_sweep(directory):
        raise UserError(f"--workdir={directory} holds no sweep")
    config = workdir.read_json(directory / workdir.CONFIG)
    if (directory / KEPT).exists():
        return _read_csv(directory / KEPT, config)
    files = sorted((directory / ORACLE).glob("trial_*/trial.json"))
    return [
        _read(directory, path, range(config["seed"], config["seed"] + config["sweep"]["executions"])) for path in files
    ]


def _read(directory: pathlib.Path, path: pathlib.Path, seeds: range) -> Outcome:
    state = workdir.read_json(path)
    trial = folder(directory, state["trial_id"])
    found = [result.finished(execution(trial, seed)) for seed in seeds]
    if state["status"] == "COMPLETED" and not all(found):
        raise UserError(f"{trial} lacks a result.json of a trial that completed: restore it")
    return Outcome(
        trial_id=state["trial_id"],
        values=state["hyperparameters"]["values"],
        status={"COMPLETED": COMPLETED, "RUNNING": RUNNING}.get(state["status"], FAILED),
        message=state["message"],
        results=tuple(done for done in found if done),
    )


def ranked(outcomes: Sequence[Outcome], objective: str) -> list[Outcome]:
    """Returns the completed trials, the best first; of equals the earlier one."""
    completed = (outcome for outcome in outcomes if outcome.mean is not None)
    return OBJECTIVES[objective].ranked(completed, key=lambda outcome: outcome.mean)


def final(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the trials without those that another one went on from to its end, as hyperband's do."""
    continued = {outcome.values.get(PROMOTED_FROM) for outcome in outcomes if outcome.status == COMPLETED}
    return [outcome for outcome in outcomes if outcome.trial_id not in continued]


def best_so_far(scores: Sequence[float | None], objective: str) -> list[float | None]:
    """Returns the best of the first, the first two, ... trials; None while none has completed."""
    curve: list[float | None] = []
    for score in scores:
        known = [value for value in (score, curve[-1] if curve else None) if value is not None]
        curve.append(OBJECTIVES[objective].best(known))
    return curve


# One row for each execution that finished; a trial of which none did has one without figures.
_FIGURES = ("seed", "best_value", "best_epoch", "test_accuracy", "test_loss", "seconds", "history")


def write_csv(directory: pathlib.Path, outcomes: Sequence[Outcome], first_seed: int) -> None:
    """Writes trials as one table, of which `read` makes them again; of each epoch it keeps the objective alone."""
    paths = list(dict.fromkeys(path for outcome in outcomes for path in outcome.values))
    with workdir.atomic(directory / KEPT) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", "status", "message", *paths, *_FIGURES])
        for outcome in outcomes:
            values = [_cell(outcome.values[path]) if path in outcome.values else "" for path in paths]
            for seed, done in enumerate(outcome.results or [None], first_seed):
                figures = [seed, *_figures(done)] if done else [""] * len(_FIGURES)
                writer.writerow([outcome.trial_id, outcome.status, outcome.message or "", *values, *figures])


def _figures(done: Result) -> list[Any]:
    history = " ".join(repr(epoch[done.objective]) for epoch in done.history)
    return [done.best_value, done.best_epoch, done.test_accuracy, done.test_loss, done.seconds, history]


def _read_csv(path: pathlib.Path, config: dict[str, Any]) -> list[Outcome]:
    trials: dict[str, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            trials.setdefault(row["trial"], []).append(row)
    known = {"trial", "status", "message", *_FIGURES}
    return [
        Outcome(
            trial_id=trial_id,
            values={path: _value(cell) for path, cell in rows[0].items() if path not in known and cell},
            status=rows[0]["status"],
            message=rows[0]["message"] or None,
            results=tuple(_result(row, config) for row in rows if row["seed"]),
        )
        for trial_id, rows in trials.items()
    ]


def _result(row: dict[str, str], config: dict[str, Any]) -> Result:
    objective = config["objective"]
    history = [{"epoch": epoch, objective: float(text)} for epoch, text in enumerate(row["history"].split(), 1)]
    figures = {name: float(row[name]) for name in ("best_value", "test_accuracy", "test_loss", "seconds")}
    data = config["data"]
    return Result(
        status=result.SUCCESS,
        dataset=data["name"],
        validation=data["validation"],
        objective=objective,
        best_epoch=int(row["best_epoch"]),
        history=history,
        **figures,
    )


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:  # a word
        return cell
