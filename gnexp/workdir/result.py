"""How a training went: what `result.json` holds."""

import dataclasses
import pathlib
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from gnexp.errors import DamagedError, InterruptedTrainingError
from gnexp.workdir import files

SUCCESS = "success"
FAILURE = "failure"
STOPPED = "stopped"


class Figures(TypedDict):
    """The figures of an epoch of a classification (`gnexp.training.epoch.Epoch` as a dict)."""

    epoch: Annotated[int, Meta(ge=1)]
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


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

    status: Literal["success"]
    dataset: str
    validation: float | int | str
    objective: str
    best_value: float
    best_epoch: Annotated[int, Meta(ge=1)]
    test_accuracy: float
    test_loss: float
    seconds: float
    history: Annotated[list[dict[str, Any]], Meta(min_length=1)]


@dataclasses.dataclass(frozen=True)
class _Ended:
    """A training that ended without a result."""

    status: Literal["failure", "stopped"]
    message: str


def write(directory: pathlib.Path, result: Result) -> None:
    """Writes a training's result."""
    files.write_json(directory / files.RESULT, dataclasses.asdict(result))


def write_failure(directory: pathlib.Path, error: BaseException) -> None:
    """Writes why a training ended without a result: as STOPPED if the cause was outside it, otherwise as FAILURE."""
    outside = isinstance(error, (InterruptedTrainingError, OSError, KeyboardInterrupt, SystemExit))
    message = f"{type(error).__name__}: {error}"
    files.write_json(directory / files.RESULT, {"status": STOPPED if outside else FAILURE, "message": message})


def read(directory: pathlib.Path, history: list[dict[str, Any]] | None = None) -> dict[str, Any] | None:
    """Returns what a training's `result.json` holds, or None if it has not ended.

    Args:
      directory: its workdir.
      history: of a kept training, whose `result.json` is without it.

    Raises:
      UserError: the file is damaged.
    """
    path = directory / files.RESULT
    values = files.read_json(path)
    if values is None:
        return None
    if not isinstance(values, dict) or values.get("status") != SUCCESS:
        files.checked(path, values, _Ended)
        return values
    if history is not None:
        values = {**values, "history": history}
    check_result(path, values)
    return values


def check_result(path: pathlib.Path, values: Any) -> None:
    """Raises DamagedError unless `values`, which a file holds, are those of a `Result`."""
    done = files.checked(path, values, Result)
    check_history(path, done.history, dict[str, int | float])
    if any(done.objective not in epoch for epoch in done.history):
        raise DamagedError(path, f"an epoch has no {done.objective}")
    if done.best_epoch > len(done.history):
        raise DamagedError(path, f"best_epoch is {done.best_epoch}, of {len(done.history)} epochs")


def check_history(path: pathlib.Path, history: Any, kind: Any = Figures) -> None:
    """Raises DamagedError unless `history`, which a file holds, has the epochs 1, 2 and so on, each of type `kind`."""
    files.checked(path, history, list[kind])
    if [figures.get("epoch") for figures in history] != list(range(1, len(history) + 1)):
        raise DamagedError(path, "its epochs are not 1, 2 and so on")


def finished(directory: pathlib.Path) -> Result | None:
    """Returns the result of the training in `directory`, or None if it has not ended, or has failed.

    Raises:
      UserError: the file is damaged.
    """
    values = read(directory)
    return Result(**values) if values and values["status"] == SUCCESS else None


def failed(directory: pathlib.Path) -> str | None:
    """Returns why the training in `directory` failed, or None if it did not; raises as `finished`."""
    values = read(directory)
    return values["message"] if values and values["status"] == FAILURE else None
