"""How a training went: what `result.json` holds."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from gnexp.errors import DamagedError, InterruptedTrainingError
from gnexp.workdir import files

SUCCESS = "success"
FAILURE = "failure"
STOPPED = "stopped"


# What every epoch has in a history, in this order, between the task's own figures: `loss` and the figures of training
# are means over the epoch's examples, taken during its steps, with dropout, as in Keras; `val_...` those over the
# validation set after the epoch. Both losses include the L2 terms. `learning_rate` is that after the epoch's last step,
# before the plateau rule; `seconds` is the time spent on training and validation.
EPOCH = ("epoch", "loss", "val_loss", "learning_rate", "seconds")
_TEST = "test_"


@dataclasses.dataclass(frozen=True)
class Result:
    """A training that reached its end.

    Attributes:
      status: SUCCESS.
      dataset: the dataset actually used.
      validation: the config's `data.validation`; "test" means that the best epoch was chosen on the test set.
      objective: the figure that chose the best epoch.
      best_value, best_epoch: the objective's best value, and its epoch, counted from 1.
      test: the figures of the best epoch's weights on the test set by name, with the loss, measured once.
      seconds: time spent in epochs, over all processes that worked on the training.
      history: the figures of each epoch by name (`EPOCH`).
      patience: whether `config.patience` ended it before its last epoch.
    """

    status: Literal["success"]
    dataset: str
    validation: float | int | str
    objective: str
    best_value: float
    best_epoch: Annotated[int, Meta(ge=1)]
    test: dict[str, float]
    seconds: float
    history: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    patience: bool = False

    def flat(self) -> dict[str, Any]:
        """Returns what `result.json` holds: each test figure is a key of its own, such as `test_accuracy`."""
        values = dataclasses.asdict(self)
        if not self.patience:
            del values["patience"]  # as before there was the key
        return flat(values)


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Returns values in which each figure in `test` is a key of its own."""
    found = {}
    for key, value in values.items():
        found |= {f"{_TEST}{name}": figure for name, figure in value.items()} if key == "test" else {key: value}
    return found


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Returns what `flat` returned as the fields of a `Result`."""
    found, test = {}, {}
    for key, value in values.items():
        if key.startswith(_TEST):
            test[key.removeprefix(_TEST)] = value
        else:
            found[key] = value
    return {**found, "test": test}


@dataclasses.dataclass(frozen=True)
class _Ended:
    """A training that ended without a result."""

    status: Literal["failure", "stopped"]
    message: str


def write(directory: pathlib.Path, result: Result) -> None:
    """Writes a training's result."""
    files.write_json(directory / files.RESULT, result.flat())


def write_failure(directory: pathlib.Path, error: BaseException) -> None:
    """Writes why a training ended without a result: as STOPPED if the cause was outside it, otherwise as FAILURE."""
    outside = isinstance(error, (InterruptedTrainingError, OSError, KeyboardInterrupt, SystemExit))
    message = f"{type(error).__name__}: {str(error).strip()}"  # some of Keras's begin with an empty line
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
    if not _succeeded(values):
        files.checked(path, values, _Ended)
        return values
    if history is not None:
        values = {**values, "history": history}
    check_result(path, values)
    return values


def _succeeded(values: Any) -> bool:
    return isinstance(values, dict) and values.get("status") == SUCCESS


def check_result(path: pathlib.Path, values: Any) -> Result:
    """Returns the `Result` of `values`, which a file holds; raises DamagedError unless they are those of one."""
    done = files.checked(path, nested(values) if isinstance(values, dict) else values, Result)
    for name in (done.objective.removeprefix("val_"), "loss"):
        if name not in done.test:
            raise DamagedError(path, f"{_TEST}{name} is missing")
    check_history(path, done.history, ("epoch", done.objective))
    if done.best_epoch > len(done.history):
        raise DamagedError(path, f"best_epoch is {done.best_epoch}, of {len(done.history)} epochs")
    return done


def check_history(path: pathlib.Path, history: Any, needed: Sequence[str] = EPOCH) -> None:
    """Raises DamagedError unless `history`, which a file holds, has the epochs 1, 2 and so on, with the same figures.

    Args:
      path: the file, for the message.
      history: what it holds.
      needed: the figures that each must have.
    """
    files.checked(path, history, list[dict[str, int | float]])
    alike = all(epoch.keys() == history[0].keys() for epoch in history)
    if missing := [name for name in needed if any(name not in epoch for epoch in history[: 1 if alike else None])]:
        raise DamagedError(path, f"an epoch has no {missing[0]}")
    if not alike:
        raise DamagedError(path, "its epochs have different figures")
    if [figures.get("epoch") for figures in history] != list(range(1, len(history) + 1)):
        raise DamagedError(path, "its epochs are not 1, 2 and so on")


def finished(directory: pathlib.Path) -> Result | None:
    """Returns the result of the training in `directory`, or None if it has not ended, or has failed.

    Raises:
      UserError: the file is damaged.
    """
    path = directory / files.RESULT
    values = files.read_json(path)
    if _succeeded(values):
        return check_result(path, values)
    if values is not None:
        files.checked(path, values, _Ended)
    return None


def succeeded(directory: pathlib.Path) -> bool:
    """Tells whether the training or the sweep in `directory` reached its end, which a damaged file does not say.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        return _succeeded(files.read_json(directory / files.RESULT))
    except DamagedError:
        return False


def ended_by(directory: pathlib.Path) -> str:
    """Returns which limit ended the sweep in `directory` before it was over, in one line; "" if none did.

    Raises:
      UserError: the file cannot be read.
    """
    if not succeeded(directory):
        return ""
    return str(files.read_json(directory / files.RESULT).get("ended_by", ""))


def failed(directory: pathlib.Path) -> str | None:
    """Returns why the training in `directory` failed, or None if it did not; raises as `finished`."""
    values = read(directory)
    return values["message"] if values and values["status"] == FAILURE else None
