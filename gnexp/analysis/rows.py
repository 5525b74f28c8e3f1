"""What came of a sweep or of trainings as the rows of one table."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from gnexp.analysis import outcomes, trainings
from gnexp.analysis.outcomes import COMPLETED, FAILED, RUNNING, Outcome
from gnexp.analysis.sweep import is_sweep, read_sweep, read_trials
from gnexp.analysis.trainings import Record
from gnexp.config.defaults import fill_in
from gnexp.config.schema import FIELDS
from gnexp.errors import UserError
from gnexp.workdir import files, result
from gnexp.workdir.folder import read_config
from gnexp.workdir.result import Result, nested

_VALIDATION, _TEST = "val_", "test_"
_STATUSES = {result.SUCCESS: COMPLETED, result.FAILURE: FAILED, None: RUNNING}


@dataclasses.dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
      which: what identifies it, and how it ended.
      values: its hyperparameters by dotted path; those that are searched, in a sweep.
      figures: of its best epoch; empty if it has not ended well.
    """

    which: Mapping[str, Any]
    values: Mapping[str, Any]
    figures: Mapping[str, Any]

    def flat(self) -> dict[str, Any]:
        """Returns its cells by column."""
        return {**self.which, **self.values, **self.figures}


def columns(rows: Sequence[Row]) -> list[str]:
    """Returns the columns of some rows: which they are, hyperparameters, figures."""
    parts = [part for name in ("which", "values", "figures") for row in rows for part in getattr(row, name)]
    return list(dict.fromkeys(parts))


def read(directory: pathlib.Path) -> list[Row]:
    """Returns a row for each trial and seed of a sweep, for a training, or for each training in a folder.

    Raises:
      UserError: there is none, or a file is damaged.
    """
    config = read_config(directory)
    if config is None:
        return [_of_training(record) for record in trainings.read(directory).trainings]
    if is_sweep(directory):
        return [row for trial in read_trials(directory) for row in _of_trial(trial, config["seed"])]
    fill_in(config)
    return [_of_training(trainings.read_training(directory, config))]


def _of_trial(trial: Outcome, first_seed: int) -> list[Row]:
    # A trial without a result has one row.
    seeds = enumerate(trial.results, outcomes.own_seed(trial.values, first_seed)) if trial.results else [(None, None)]
    return [
        Row(
            {"trial": trial.trial_id, "seed": seed, "status": trial.status, "message": trial.message},
            trial.values,
            figures(done) if done else {},
        )
        for seed, done in seeds
    ]


def _of_training(record: Record) -> Row:
    status = record.ended.get("status")
    which = {"training": record.name, "seed": record.config["seed"]}
    values = {path: value for path, value in record.config.items() if path not in FIELDS or FIELDS[path].shown}
    values.pop("seed", None)
    found = figures(Result(**nested(record.ended), history=record.history)) if record.finished else {}
    message = record.ended.get("message")
    return Row({**which, "status": _STATUSES.get(status, status), "message": message}, values, found)


def figures(done: Result) -> dict[str, Any]:
    """Returns the figures of a training: those of its best epoch on held-out images, and on the test images."""
    best = done.history[done.best_epoch - 1]
    validation = {name: value for name, value in best.items() if name.startswith(_VALIDATION)}
    test = {_TEST + name: value for name, value in done.test.items()}
    return {"best_epoch": done.best_epoch, **validation, **test, "seconds": done.seconds}


def best_training(directory: pathlib.Path) -> tuple[pathlib.Path, str | None]:
    """Returns the workdir of a training, or of the first training of a sweep's best trial, and the trial's name.

    Raises:
      UserError: there is neither, or no trial has completed yet.
    """
    if not is_sweep(directory):
        return directory, None
    swept = read_sweep(directory)
    if swept.kept:
        raise UserError(f"--workdir={directory} holds no models: it is what a repository keeps of a sweep")
    if not swept.best:
        raise UserError(f"--workdir={directory} holds no trial that has completed")
    best = swept.best[0]
    folder = files.trial_folder(directory, best.trial_id)
    return files.execution_folder(folder, outcomes.own_seed(best.values, swept.config.seed)), best.trial_id
