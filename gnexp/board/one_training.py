"""One training that belongs to no sweep."""

import pathlib
from typing import Any

from gnexp.analysis.trainings import Record, read_training
from gnexp.board import content, one_trial
from gnexp.board.folders import signature
from gnexp.config import objective
from gnexp.config.defaults import fill_in
from gnexp.workdir import files
from gnexp.workdir.folder import read_config

_FIGURES = ("best_value", "best_epoch", "seconds", "status", "message")


def summary(directory: pathlib.Path) -> dict[str, Any]:
    """Returns the figures of a training for a list.

    Raises:
      LookupError: the workdir is not there any more.
      UserError: a file cannot be read.
    """
    record = _read(directory)
    asked, headline = objective.of(record.config), objective.headline(record.config)
    scores = [epoch[asked.name] for epoch in record.history if epoch.get(asked.name) is not None]
    return {
        "data": record.config.get("data.name"),
        "network": content.name_of_network(record.config),
        "objective": asked.name,
        "epochs": [len(record.history), record.config.get("epochs")],
        "best": [None, asked.best(scores), None] if scores else None,
        "test": record.ended.get(f"test_{headline.name}"),
        "finished": record.finished,
        "last": _last_sign(directory),
        "stopped": record.ended.get("message", ""),
    }


def _last_sign(directory: pathlib.Path) -> float | None:
    """Returns when a training last wrote something, in seconds since 1970."""
    states = [signature(directory / name) for name in (files.CONFIG, files.RESULT, files.CHECKPOINT)]
    return max((state[0] / 1e9 for state in states if state), default=None)


def training(directory: pathlib.Path) -> dict[str, Any]:
    """Returns a training in full.

    Raises:
      LookupError: the workdir is not there any more.
      UserError: a file cannot be read.
    """
    record = _read(directory)
    return {
        "config": record.config,
        "curves": one_trial.columns(record.history),
        "ended": {name: value for name, value in record.ended.items() if name in _FIGURES or name.startswith("test_")},
        **one_trial.execution(directory, directory),
    }


def _read(directory: pathlib.Path) -> Record:
    config = read_config(directory)
    if config is None:
        raise LookupError(f"{directory.name} was deleted or moved")
    fill_in(config)
    return read_training(directory, config)
