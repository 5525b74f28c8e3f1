"""A trial as keras-tuner records it, in `oracle/trial_0007/trial.json`."""

import dataclasses
import pathlib
import re
from typing import Any, Literal

from gnexp.errors import DamagedError, UserError
from gnexp.workdir import files

_ID = re.compile(r"[0-9]{4}")
_Value = bool | int | float | str | None


@dataclasses.dataclass(frozen=True)
class _Hyperparameters:
    space: list[dict[str, Any]]
    values: dict[str, _Value]


@dataclasses.dataclass(frozen=True)
class _Trial:
    """`Trial.get_state` of keras-tuner 1.4.8."""

    trial_id: str
    hyperparameters: _Hyperparameters
    metrics: dict[str, Any]
    score: float | None
    best_step: int | None
    status: Literal["RUNNING", "COMPLETED", "FAILED", "INVALID", "STOPPED", "IDLE"]
    message: str | None


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns what a `trial.json` holds.

    Raises:
      UserError: the file is damaged or missing.
    """
    state = files.read_json(path)
    if state is None:
        raise UserError(f"{path} is missing: restore it, or choose another --workdir")
    trial = files.checked(path, state, _Trial)
    if f"trial_{trial.trial_id}" != path.parent.name or not _ID.fullmatch(trial.trial_id):
        raise DamagedError(path, f"trial_id={trial.trial_id!r} is not that of its folder")
    if missing := [name for name in _unconditional(trial) if name not in trial.hyperparameters.values]:
        raise DamagedError(path, f"it has no value of {missing[0]}")
    return state


def _unconditional(trial: _Trial) -> list[str]:
    """Returns the names of the hyperparameters that every trial has."""
    configs = (entry.get("config") for entry in trial.hyperparameters.space)
    return [config["name"] for config in configs if isinstance(config, dict) and not config.get("conditions")]
