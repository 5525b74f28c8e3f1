"""From a config to its task."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict

from gnexp.config import objective, open_sections
from gnexp.config.paths import flatten
from gnexp.data.splits import Splits
from gnexp.errors import FunctionError, UserError
from gnexp.functions import load
from gnexp.models.outputs import Outputs
from gnexp.tasks.classification import Classification
from gnexp.tasks.multilabel import Multilabel
from gnexp.tasks.segmentation import Segmentation
from gnexp.tasks.task import Task, one_hot


def create(config: ConfigDict, splits: Splits) -> Task:
    """Returns the task of a config.

    Args:
      config: of a training or a sweep.
      splits: its dataset.

    Raises:
      UserError: the task is none, an option does not fit the dataset, or the task does not have the objective.
      FunctionError: the user's own code fails.
    """
    section = config.task
    _check_targets(section.name, splits)
    function = load.load(open_sections.function("task", section.name))
    if section.name == "classification":
        options = {key: section[key] for key in ("label_smoothing", "top_k", "class_weight")}
    else:
        options = section.args.to_dict()
    with load.users_code(f"config.task.name={section.name!r} fails"):
        task = function(splits, **options)
    if not isinstance(task, Task):
        raise FunctionError(
            f"config.task.name={section.name!r} made a {type(task).__name__}: it must make a gnexp.tasks.task.Task"
        )
    _check_attributes(task, section.name)
    if section.loss:
        task.replace_loss(_loss(section.loss, task))
    flat = flatten(config)
    objective.check(flat, [*task.figures, *map(objective.snake, section.figures)])
    objective.check_directions(flat, task.figures)
    return task


def _check_attributes(task: Task, name: str) -> None:
    with load.users_code(f"config.task.name={name!r} fails"):  # They may be properties.
        outputs, figures = getattr(task, "outputs", None), getattr(task, "figures", None)
    if not isinstance(outputs, Outputs):
        raise UserError(
            f"config.task.name={name!r} has the outputs {outputs!r}: they must be a gnexp.models.outputs.Outputs"
        )
    if not isinstance(figures, Mapping) or not all(isinstance(each, str) and each.isidentifier() for each in figures):
        raise UserError(
            f"config.task.name={name!r} has the figures {figures!r}: they must be a dict from names to 'max' or 'min', "
            "such as {'error': 'min'}"
        )


# Of each built-in task: how many dimensions the targets of an example may have, whether they are classes, and in words.
_TARGETS = {
    "classification": ((0,), True, "a label, a whole number, for each example"),
    "multilabel": ((1,), False, "0 or 1 for each label, with the shape (labels,)"),
    "segmentation": ((2,), True, "a class for each pixel, with the shape (height, width)"),
    "regression": ((0, 1), False, "a number, or several, for each example"),
}


def _check_targets(name: str, splits: Splits) -> None:
    if name not in _TARGETS:
        return
    dimensions, classes, words = _TARGETS[name]
    shape, dtype = tuple(splits.train.targets.shape[1:]), splits.train.targets.dtype
    if len(shape) not in dimensions or (classes and not splits.labels):
        raise UserError(
            f"config.task.name={name!r} is not allowed: the targets of the dataset are {dtype} of the shape {shape} "
            f"for each example, and it needs {words}"
        )
    for split in (splits.train, splits.validation, splits.test) if name == "multilabel" else ():
        strange = splits.strange
        if isinstance(split.targets, np.ndarray):
            strange = next(iter(split.targets[~np.isin(split.targets, (0, 1))]), None)
        if strange is not None:
            raise UserError(
                f"config.task.name={name!r} is not allowed: the targets of the dataset hold {strange:g}, and it "
                f"needs {words}"
            )


# Losses of Keras that take probabilities and no `from_logits`, without underscores.
_OF_PROBABILITIES = ("dice", "tversky", "kldivergence", "kullbackleiblerdivergence", "kld")


def _loss(name: str, task: Task) -> Callable[[Any, Any], Any]:
    """Returns the loss of a name, Keras's or the user's, as a function of targets and outputs; Keras's takes logits."""
    if ":" in name:
        try:
            return load.load(name)
        except UserError as error:
            raise UserError(f"config.task.loss={name!r}: {error}") from error
    found = _of_keras(name)
    plain = name.lower().replace("_", "")
    of_logits = plain not in _OF_PROBABILITIES
    of_shares = not of_logits or ("categorical" in plain and "sparse" not in plain)
    activation = keras.ops.sigmoid if isinstance(task, Multilabel) else keras.ops.softmax
    logits = of_logits or not isinstance(task, (Multilabel, Classification, Segmentation))

    def loss(targets: Any, outputs: Any) -> Any:
        targets = one_hot(targets, outputs) if of_shares else targets
        if len(targets.shape) + 1 == len(outputs.shape) and outputs.shape[-1] == 1:
            targets = keras.ops.expand_dims(targets, -1)  # Otherwise (n,) and (n, 1) would become (n, n).
        return found(targets, outputs if logits else activation(outputs))

    return loss


def _of_keras(name: str) -> Callable[[Any, Any], Any]:
    try:
        found = keras.losses.get(name)
        if isinstance(found, keras.losses.Loss):
            takes = inspect.signature(type(found)).parameters
            given = {"from_logits": True} if "from_logits" in takes else {}
            return type(found)(reduction=None, **given)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"config.task.loss={name!r} is not allowed: it must be a loss of Keras, such as 'mean_absolute_error', "
            "or 'package.module:function'"
        ) from error
    return functools.partial(found, from_logits=True) if "from_logits" in inspect.signature(found).parameters else found
