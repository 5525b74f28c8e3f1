"""How a training went: what `result.json` holds."""

import dataclasses
import pathlib
from typing import Any

from gnexp.errors import InterruptedTrainingError
from gnexp.workdir import files

SUCCESS = "success"
FAILURE = "failure"
STOPPED = "stopped"


@dataclasses.dataclass(frozen=True)
class Result:
    """A training that reached its end.

    Attributes:
      status: SUCCESS.
      dataset: the dataset actually used.
      validation: the config's `data.validation`; "test" means that the best epoch was chosen on the test set.
      objective: the figure that chose the best epoch.
      best_value, best_epoch: the objective's best value, and its epoch, counted from 1.
      test_accuracy, test_loss: figures of the best epoch's weights, measured once.
      seconds: time spent in epochs, over all processes that worked on the training.
      history: the figures of each epoch (`gnexp.training.epoch.Epoch` as a dict).
    """

    status: str
    dataset: str
    validation: float | int | str
    objective: str
    best_value: float
    best_epoch: int
    test_accuracy: float
    test_loss: float
    seconds: float
    history: list[dict[str, Any]]


def write(directory: pathlib.Path, result: Result) -> None:
    """Writes a training's result."""
    files.write_json(directory / files.RESULT, dataclasses.asdict(result))


def write_failure(directory: pathlib.Path, error: BaseException) -> None:
    """Writes why a training ended without a result: as STOPPED if the cause was outside it, otherwise as FAILURE."""
    outside = isinstance(error, (InterruptedTrainingError, OSError, KeyboardInterrupt, SystemExit))
    message = f"{type(error).__name__}: {error}"
    files.write_json(directory / files.RESULT, {"status": STOPPED if outside else FAILURE, "message": message})


def finished(directory: pathlib.Path) -> Result | None:
    """Returns the result of the training in `directory`, or None if it has not ended, or has failed."""
    values = files.read_json(directory / files.RESULT)
    return Result(**values) if values and values["status"] == SUCCESS else None


def failed(directory: pathlib.Path) -> str | None:
    """Returns why the training in `directory` failed, or None if it did not."""
    values = files.read_json(directory / files.RESULT)
    return values["message"] if values and values["status"] == FAILURE else None
