"""What a network does on one split: its loss and figures, measured in float64 over all examples."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from gnexp.config.objective import snake
from gnexp.data import stream
from gnexp.data.splits import Split
from gnexp.errors import FunctionError, UserError
from gnexp.functions import load
from gnexp.tasks.task import Evaluation, Task, one_hot
from gnexp.training.steps import Predict

_BATCH = 500
_PARTS = 4  # of what is read together: the outputs of layers take more than the inputs
_KEPT = 2**28  # bytes of outputs that are kept for pictures


def evaluate(
    task: Task,
    predict: Predict,
    split: Split,
    extra: Sequence[str] = (),
    finite: bool = True,
) -> Evaluation:
    """Evaluates a network.

    Args:
      task: what it learns.
      predict: returns its outputs for inputs, and what is added to their loss.
      split: the examples.
      extra: the names of further figures (a config's `task.figures`), Keras's metrics or `package.module:function`,
        which takes all targets and predictions as arrays, and returns a number.
      finite: refuse figures that are NaN or infinite, as those of a few examples may well be.

    Returns:
      The evaluation; without figures if the loss is NaN or infinite. As in Keras, figures are divided by the sum of
      the weights, and the loss by the number of examples.

    Raises:
      FunctionError: the task or a further figure fails, or a figure is no finite number.
    """
    meters = {snake(name): _meter(name) for name in extra}
    losses, numbers, weights, kept, size = [], {name: [] for name in task.counted}, [], [], 0
    penalty = 0.0
    # The same in memory and out of it: the loss may be one of a whole batch.
    batch = min(_BATCH, 1 + stream.chunk(split) // _PARTS)
    for part in stream.in_order(split, batch):
        outputs, added = predict(part.inputs)
        penalty += added * len(part) / len(split)
        with load.users_code(f"{_named(task)} fails", MemoryError):
            losses.append(task.losses(part.targets, outputs))
            found = task.measured(part.targets, outputs)
            for name in task.counted:
                numbers[name].append(found[name])
            predictions = task.predictions(outputs) if meters else None
        weights.append(part.weights)
        for meter in meters.values():
            meter.add(part.targets, predictions, part.weights)
        if size <= _KEPT:
            kept.append(outputs)
            size += outputs.nbytes
    whole = None if split.weights is None else np.concatenate(weights).astype(np.float64)
    means = {name: float(np.average(np.concatenate(parts), weights=whole)) for name, parts in numbers.items()}
    losses = np.concatenate(losses)
    loss = float(np.mean(losses if whole is None else losses * whole)) + penalty
    figures = {}
    if math.isfinite(loss):
        figures = values(task, means, finite) | {name: meter.value(finite) for name, meter in meters.items()}
    return Evaluation(loss, figures, np.concatenate(kept))


def values(task: Task, means: Mapping[str, float], finite: bool = True) -> dict[str, float]:
    """Returns the figures of a task.

    Args:
      task: the task.
      means: of its numbers.
      finite: refuse figures that are NaN or infinite.

    Raises:
      FunctionError: the task fails, does not have a figure, or it is no finite number.
    """
    with load.users_code(f"{_named(task)} fails", MemoryError):
        found = dict(task.values(means))
    if sorted(found) != sorted(task.figures):
        raise FunctionError(
            f"{_named(task)}: values() returned {', '.join(sorted(found)) or 'nothing'}: it must return "
            f"{', '.join(sorted(task.figures))}"
        )
    return {name: _number(f"{_named(task)}: {name}", found[name], finite) for name in task.figures}


def _named(task: Task) -> str:
    return f"the task {type(task).__name__}"


class _Keras:
    """A figure that is a metric of Keras."""

    def __init__(self, name: str, metric: Any):
        self._name = name
        self._metric = metric if isinstance(metric, keras.Metric) else keras.metrics.MeanMetricWrapper(metric, name)

    def add(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None) -> None:
        predictions = predictions.astype(np.float32)  # TensorFlow's top-k takes nothing else.
        if "sparse" not in snake(self._name):  # All others take a share for each class.
            targets = one_hot(targets, predictions)
        if predictions.ndim == 1:  # Keras's functions take the mean over the last axis.
            targets, predictions = targets[:, np.newaxis], predictions[:, np.newaxis]
        shapes = f"targets of the shape {tuple(targets.shape)} and predictions of {predictions.shape}"
        with load.users_code(f"config.task.figures: {self._name} fails, with {shapes}"):
            self._metric.update_state(targets, predictions, sample_weight=weights)

    def value(self, finite: bool) -> float:
        return _number(f"config.task.figures: {self._name}", self._metric.result(), finite)


class _Own:
    """A figure that is a function of the user's, of a whole split."""

    def __init__(self, name: str, function: Callable[[np.ndarray, np.ndarray], float]):
        self._name, self._function = name, function
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None) -> None:
        del weights
        self._parts.append((targets, predictions))

    def value(self, finite: bool) -> float:
        with load.users_code(f"config.task.figures: {self._name} fails"):
            value = self._function(*(np.concatenate(parts) for parts in zip(*self._parts, strict=True)))
        return _number(f"config.task.figures: {self._name}", value, finite)


def _meter(name: str) -> _Keras | _Own:
    if ":" in name:
        try:
            return _Own(name, load.load(name))
        except UserError as error:
            raise UserError(f"config.task.figures={name!r}: {error}") from error
    try:
        found = keras.metrics.get(name)
        return _Keras(name, found() if inspect.isclass(found) else found)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"config.task.figures={name!r} is not allowed: it must be a metric of Keras that needs no arguments, such "
            "as 'auc', or 'package.module:function'"
        ) from error


def _number(what: str, value: Any, finite: bool) -> float:
    try:
        number = float(keras.ops.convert_to_numpy(value))
    except (TypeError, ValueError) as error:
        raise FunctionError(f"{what} is {value!r}: it must be a number") from error
    if finite and not math.isfinite(number):
        raise FunctionError(f"{what} is {number}: it must be a finite number")
    return number
