"""Checks of the losses, numbers and figures of the user's own, on a few examples."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gnexp.data import stream
from gnexp.data.splits import Split
from gnexp.errors import FunctionError
from gnexp.tasks.task import Task, each_loss, in_float64
from gnexp.training.evaluation import evaluate

_MANY = 300  # examples, for a figure that fails on a few


def refuse_spread(task: Task, targets: np.ndarray, outputs: tuple[int, ...]) -> None:
    """Checks that examples have together what each has alone, where a further axis of the targets brings that.

    What depends on the whole batch by intention is let through: it does with that axis as well.

    Args:
      task: whose loss and numbers are checked.
      targets: array of shape (n, ...), not all alike.
      outputs: the shape of the outputs; nothing is checked unless it is that of the targets with a last axis of 1.

    Raises:
      ValueError: saying what to write.
    """
    if outputs[-1] != 1 or len(outputs) != targets.ndim + 1:
        return
    # From 0 to 1, where any loss is defined, and not alike, as those of an untrained network may be.
    made_up = np.linspace(0.25, 0.75, int(np.prod(outputs)), dtype=np.float32).reshape(outputs)
    functions = {"the loss": lambda *each: each_loss(task.loss(*each), len(each[0]))}
    functions |= {f"{name!r} of numbers()": lambda *each, name=name: task.numbers(*each)[name] for name in task.counted}
    for what, function in functions.items():
        try:
            spread = not _alike(function, targets, made_up) and _alike(function, targets[..., np.newaxis], made_up)
        except Exception:  # whatever the user's code raises for one example, or for an axis that it never gets
            continue
        if spread:
            raise ValueError(
                f"{what} of {len(targets)} examples together is another than that of each alone: targets of the shape "
                f"{targets.shape} and outputs of {outputs} were spread over each other; write targets[:, None], or "
                "outputs[:, 0]"
            )


def _alike(function: Callable[[Any, Any], Any], targets: np.ndarray, outputs: np.ndarray) -> bool:
    """Tells whether the examples have the same values together and alone, or at least the same mean."""

    def values(rows: slice) -> np.ndarray:
        return in_float64(function(*map(keras.ops.convert_to_tensor, (targets[rows], outputs[rows]))))

    together = values(slice(None))
    alone = np.concatenate([values(slice(row, row + 1)) for row in range(len(targets))])
    if len(set(together)) == 1:  # A loss of the whole batch is its mean.
        together, alone = together.mean(), alone.mean()
    return bool(np.allclose(together, alone, rtol=1e-3, atol=1e-6, equal_nan=True))


def measure(task: Task, extra: Sequence[str], few: Split, outputs: np.ndarray, validation: Split) -> None:
    """Measures a few examples, and where a figure of the user's fails on them, more with made-up outputs.

    Args:
      task: what is learned.
      extra: the names of further figures.
      few: the examples.
      outputs: the network's, float32 of shape (n, ...).
      validation: where more examples come from.

    Raises:
      FunctionError: the task or a figure fails on the few, and a figure of the user's on more as well.
    """
    try:  # These few may all weigh 0.
        evaluate(task, lambda _: (outputs, 0.0), dataclasses.replace(few, weights=None), extra, finite=False)
    except FunctionError:
        if not any(":" in name for name in extra):
            raise
        # Some figures need all classes, or more examples than a few. Of which outputs, does not matter.
        targets = _many(validation).targets
        made_up = np.random.default_rng(0).normal(size=(len(targets), *outputs.shape[1:])).astype(np.float32)
        evaluate(task, lambda given: (given, 0.0), Split(made_up, targets), extra, finite=False)


def _many(split: Split) -> Split:
    """Returns some hundred examples from all over a split, with one of each class."""
    rows = np.linspace(0, len(split) - 1, min(_MANY, len(split))).astype(np.int32)
    if isinstance(split.targets, np.ndarray) and split.targets.ndim == 1 and split.targets.dtype.kind == "i":
        rows = np.union1d(rows, np.unique(split.targets, return_index=True)[1]).astype(np.int32)
    return next(stream.batches(split, rows[np.newaxis]))
