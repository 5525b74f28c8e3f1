"""Compares the single trainings in a folder of workdirs with each other, and with those of another project."""

import csv
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

from gnexp.analysis.kept_trials import finite
from gnexp.config import objective
from gnexp.config.defaults import fill_in
from gnexp.config.objective import Objective
from gnexp.config.paths import flatten
from gnexp.errors import UserError
from gnexp.workdir import checkpoint, files, provenance, result
from gnexp.workdir.folder import read_config

REFERENCE = "reference.csv"
HISTORY = "history.csv"
# Trainings that differ only in these are one experiment. The folder of the data is not a hyperparameter.
NO_MATTER = ("seed", "epochs", "data.directory")

History = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Record:
    """One training.

    Attributes:
      name: the name of its folder.
      config: by dotted path.
      history: the figures of each epoch so far.
      ended: the content of `result.json` without the history; empty if there is no such file.
      made_by: the backend, and the digests of the user's code.
    """

    name: str
    config: dict[str, Any]
    history: History
    ended: dict[str, Any]
    made_by: str = ""

    @property
    def finished(self) -> bool:
        """Whether it reached its end."""
        return self.ended.get("status") == result.SUCCESS

    @property
    def length(self) -> int:
        """The epochs that it counts as: all that it was to have, if `config.patience` ended it before."""
        return self.config["epochs"] if self.ended.get("patience") else len(self.history)


@dataclasses.dataclass(frozen=True)
class Group:
    """Trainings that differ only in their seeds, and perhaps in their lengths: a shorter one is as the longer began.

    Attributes:
      name: that of the training with the lowest seed.
      trainings: the longest training of each seed, in the order of the seeds; those without an epoch are left out.
      reference: the epochs of the run in `reference.csv` that has the name of one of the trainings; empty without one.
      headline: the figure by which trainings are compared.
    """

    name: str
    trainings: tuple[Record, ...]
    reference: History
    headline: Objective

    @property
    def lengths(self) -> list[int]:
        """The numbers of epochs at which its figures are compared, the longest first."""
        every = {training.length for training in self.trainings}
        ends = {training.length for training in self.trainings if training.finished}
        return sorted((ends or every) | {max(every)}, reverse=True) if every else []

    def after(self, epochs: int) -> "Figures":
        """Returns the figures after some number of epochs, of the seeds that have reached it."""
        reached = [training for training in self.trainings if training.length >= epochs]
        to_the_end = all(training.finished and training.length == epochs for training in reached)
        return Figures(
            seeds=[training.config["seed"] for training in reached],
            last=[training.history[:epochs][-1][validation(self.headline)] for training in reached],
            best=[best(training.history[:epochs], self.headline) for training in reached],
            test=[training.ended[f"test_{self.headline.name}"] for training in reached] if to_the_end else [],
            seconds=[epoch["seconds"] for training in reached for epoch in training.history[:epochs]],
        )


@dataclasses.dataclass(frozen=True)
class Figures:
    """The figures of a group's seeds after some number of epochs.

    Attributes:
      seeds: those that have reached this number.
      last, best: for each seed, the validation figure of the last and of the best epoch.
      test: for each seed, the test figure; empty if one of them was, or will be, trained for longer.
      seconds: the duration of each epoch of each seed.
    """

    seeds: list[int]
    last: list[float]
    best: list[float]
    test: list[float]
    seconds: list[float]


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a folder of trainings holds.

    Attributes:
      trainings: all of them, in the order of their names.
      headline: the figure by which they are compared: that of the first.
      groups: those with this figure and at least one epoch, or with a reference.
      source: the comments at the head of `reference.csv`.
      sweeps: the names of the folders beside them that hold sweeps.
    """

    trainings: list[Record]
    headline: Objective
    groups: list[Group]
    source: str
    sweeps: list[str]


def validation(headline: Objective) -> str:
    """Returns the name of a figure of the validation set in a history."""
    return f"val_{headline.name}"


def curves(headline: Objective) -> tuple[str, ...]:
    """Returns the names of the figures that are drawn: losses, and a figure, of training and of validation."""
    return "loss", headline.name, "val_loss", validation(headline)


def best(history: History, headline: Objective) -> float:
    """Returns the best value of a validation figure."""
    return headline.best(epoch[validation(headline)] for epoch in history)


def read(directory: pathlib.Path) -> Compared:
    """Returns the trainings in the folders of `directory`.

    Raises:
      UserError: there are none, or a file cannot be read.
    """
    found, sweeps = [], []
    for path in sorted(directory.glob(f"*/{files.CONFIG}")):
        config = read_config(path.parent)
        fill_in(config)
        if "sweep" in config:
            sweeps.append(path.parent.name)
        else:
            found.append(read_training(path.parent, config))
    if not found:
        raise UserError(f"--workdir={directory} holds neither a sweep nor folders with trainings")
    headline = objective.headline(found[0].config)
    source, reference = _reference(directory / REFERENCE, headline)
    return Compared(found, headline, _grouped(found, headline, reference), source, sweeps)


def read_training(directory: pathlib.Path, config: dict[str, Any]) -> Record:
    """Returns the training in a workdir, or in a kept folder, finished or not.

    Args:
      directory: the folder.
      config: what its `config.json` holds.

    Raises:
      UserError: a file cannot be read.
    """
    table, state = directory / HISTORY, directory / files.CHECKPOINT
    kept = read_csv(table)[1] if table.exists() else None
    ended = dict(result.read(directory, kept) or {})
    if "history" in ended:
        result.check_history(directory / files.RESULT, history := ended.pop("history"))
    elif kept is not None:
        result.check_history(table, history := kept)
    else:
        saved = checkpoint.load(state)
        result.check_history(state, history := saved.progress.get("history") if saved else [])
    *_, last = {}, *provenance.read(directory / files.PROVENANCE)
    # TensorFlow was the backend of most before it was on record.
    made_by = f"{last.get('backend', 'tensorflow')} {sorted(last.get('code', {}).get('sha256', {}).items())}"
    return Record(directory.name, flatten(config), history, ended, made_by)


def _grouped(found: Sequence[Record], headline: Objective, reference: dict[str, History]) -> list[Group]:
    members: dict[tuple, list[Record]] = {}
    for training in sorted(found, key=lambda training: (training.config["seed"], -training.length)):
        # A cosine schedule depends on the total number of epochs.
        cosine = training.config["schedule.name"] == "cosine"
        same = {k: v for k, v in training.config.items() if k not in NO_MATTER or (cosine and k == "epochs")}
        key = training.made_by, *sorted((path, repr(value)) for path, value in same.items())
        members.setdefault(key, []).append(training)
    groups = []
    for trainings in members.values():
        for alike in _alike(trainings):
            names = [training.name for training in alike]
            epochs = next((reference[name] for name in names if name in reference), [])
            seeds: dict[int, Record] = {}
            for training in alike:
                if training.history and validation(headline) in training.history[0]:
                    seeds.setdefault(training.config["seed"], training)
            groups.append(Group(names[0], tuple(seeds.values()), epochs, headline))
    ours = {training.name for training in found}
    groups += [Group(name, (), epochs, headline) for name, epochs in reference.items() if name not in ours]
    return sorted((group for group in groups if group.trainings or group.reference), key=lambda group: group.name)


def _alike(trainings: Sequence[Record]) -> list[list[Record]]:
    """Splits trainings of one config, the longest of each seed first, where two of one seed went different ways.

    Their data may differ, or the machine, which no config says.
    """
    groups: list[dict[int, list[Record]]] = []
    for training in trainings:
        seed, figures = training.config["seed"], _figures(training)
        for group in groups:
            if seed not in group or figures == _figures(group[seed][0])[: len(figures)]:
                group.setdefault(seed, []).append(training)
                break
        else:
            groups.append({seed: [training]})
    return [[training for same in group.values() for training in same] for group in groups]


def _figures(training: Record) -> History:
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in training.history]


def _reference(path: pathlib.Path, headline: Objective) -> tuple[str, dict[str, History]]:
    if not path.exists():
        return "", {}
    source, rows = read_csv(path)
    columns = ("run", "epoch", "seconds", *curves(headline))
    if missing := [column for column in columns if any(column not in row for row in rows)]:
        raise UserError(f"{path} has no column {missing[0]!r}")
    runs: dict[str, History] = {}
    for row in rows:
        runs.setdefault(str(row["run"]), []).append(row)
    for run, epochs in runs.items():
        if [row["epoch"] for row in epochs] != list(range(1, len(epochs) + 1)):
            raise UserError(f"{path}: the epochs of {run} must be 1, 2 and so on, each once and in order")
    return source, runs


_CELLS = {"run": str, "epoch": int}  # all others are numbers


def read_csv(path: pathlib.Path) -> tuple[str, History]:
    """Returns the comments at the head of a table, and its rows; all columns but `run` hold numbers.

    Raises:
      UserError: the file is not such a table.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        comments = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
        rows = [
            {column: _CELLS.get(column, finite)(cell) for column, cell in row.items()}
            for row in csv.DictReader(lines[len(comments) :], strict=True)
        ]
    except (TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}): it must hold numbers, separated by commas") from error
    return " ".join(line.lstrip("# ") for line in comments), rows
