"""One training that belongs to no sweep."""

import pathlib
from typing import Any

from gnexp.analysis.trainings import Record, read_training
from gnexp.board import content, one_trial
from gnexp.config.defaults import fill_in
from gnexp.config.objective import OBJECTIVES
from gnexp.workdir.folder import read_config

_FIGURES = ("best_value", "best_epoch", "test_accuracy", "test_loss", "seconds", "status", "message")


def summary(directory: pathlib.Path) -> dict[str, Any]:
    """Returns the figures of a training for a list.

    Raises:
      LookupError: the workdir is not there any more.
      UserError: a file cannot be read.
    """
    record = _read(directory)
    objective = record.config.get("objective", "val_accuracy")
    scores = [epoch[objective] for epoch in record.history if epoch.get(objective) is not None]
    return {
        "data": record.config.get("data.name"),
        "network": content.name_of_network(record.config),
        "objective": objective,
        "epochs": [len(record.history), record.config.get("epochs")],
        "best": [None, OBJECTIVES[objective].best(scores), None] if scores else None,
        "test": record.ended.get("test_accuracy"),
        "finished": record.finished,
        "stopped": record.ended.get("message", ""),
    }


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
        "ended": {name: record.ended[name] for name in _FIGURES if name in record.ended},
        **one_trial.execution(directory, directory),
    }


def _read(directory: pathlib.Path) -> Record:
    config = read_config(directory)
    if config is None:
        raise LookupError(f"{directory.name} was deleted or moved")
    fill_in(config)
    return read_training(directory, config)
