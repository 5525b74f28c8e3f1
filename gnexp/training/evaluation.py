"""What a network does on one split: its loss and figures, measured in float64 over all examples."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gnexp.config.objective import snake
from gnexp.data.splits import Split
from gnexp.errors import FunctionError, UserError
from gnexp.functions import load
from gnexp.tasks.task import Evaluation, Task, in_float64

_BATCH = 500
_KEPT = 2**28  # bytes of outputs that are kept for pictures


def evaluate(
    task: Task, predict: Callable[[np.ndarray], np.ndarray], split: Split, extra: Sequence[str] = ()
) -> Evaluation:
    """Evaluates a network.

    Args:
      task: what it learns.
      predict: returns its outputs for inputs.
      split: the examples.
      extra: the names of further figures (a config's `task.figures`), Keras's metrics or `package.module:function`,
        which takes all targets and predictions as arrays, and returns a number.

    Raises:
      FunctionError: a further figure fails, or is no finite number.
    """
    meters = {snake(name): _meter(name) for name in extra}
    losses, numbers, weights, kept, size = [], {name: [] for name in task.counted}, [], [], 0
    for start in range(0, len(split), _BATCH):
        part = split.part(slice(start, start + _BATCH))
        outputs = predict(part.inputs)
        losses.append(task.losses(part.targets, outputs))
        given = map(keras.ops.convert_to_tensor, (part.targets, outputs))
        for name, values in task.numbers(*given).items():
            numbers[name].append(in_float64(values))
        weights.append(part.weights)
        for meter in meters.values():
            meter.add(part.targets, task.predictions(outputs), part.weights)
        if size <= _KEPT:
            kept.append(outputs)
            size += outputs.nbytes
    whole = None if split.weights is None else np.concatenate(weights).astype(np.float64)
    means = {name: float(np.average(np.concatenate(parts), weights=whole)) for name, parts in numbers.items()}
    figures = {name: float(value) for name, value in task.values(means).items()}
    figures |= {name: meter.value() for name, meter in meters.items()}
    loss = float(np.average(np.concatenate(losses), weights=whole))
    return Evaluation(loss, figures, np.concatenate(kept))


class _Keras:
    """A figure that is a metric of Keras."""

    def __init__(self, name: str, metric: Any):
        self._name = name
        self._metric = metric if isinstance(metric, keras.Metric) else keras.metrics.MeanMetricWrapper(metric, name)

    def add(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None) -> None:
        try:
            self._metric.update_state(targets, predictions, sample_weight=weights)
        except Exception as error:  # of a metric that is for other targets or outputs
            raise FunctionError(f"config.task.figures: {self._name} fails: {load.cause(error)}") from error

    def value(self) -> float:
        return _finite(self._name, self._metric.result())


class _Own:
    """A figure that is a function of the user's, of a whole split."""

    def __init__(self, name: str, function: Callable[[np.ndarray, np.ndarray], float]):
        self._name, self._function = name, function
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None) -> None:
        del weights
        self._parts.append((targets, predictions))

    def value(self) -> float:
        try:
            value = self._function(*(np.concatenate(parts) for parts in zip(*self._parts, strict=True)))
        except Exception as error:  # whatever the user's code may raise
            raise FunctionError(f"config.task.figures: {self._name} fails: {load.cause(error)}") from error
        return _finite(self._name, value)


def _meter(name: str) -> _Keras | _Own:
    if ":" in name:
        return _Own(name, load.load(name))
    try:
        found = keras.metrics.get(name)
        return _Keras(name, found() if inspect.isclass(found) else found)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"config.task.figures={name!r} is not allowed: it must be a metric of Keras that needs no arguments, such "
            "as 'auc', or 'package.module:function'"
        ) from error


def _finite(name: str, value: Any) -> float:
    try:
        number = float(keras.ops.convert_to_numpy(value))
    except (TypeError, ValueError) as error:
        raise FunctionError(f"config.task.figures: {name} returned {value!r}: it must return a number") from error
    if not np.isfinite(number):
        raise FunctionError(f"config.task.figures: {name} is {number}: it must be a finite number")
    return number
