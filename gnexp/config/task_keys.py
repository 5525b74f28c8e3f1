"""The keys of the section `task`, and the kind of value that names one of a task's figures."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.config.fields import Field, Kind, fraction, is_integer, is_number

FIGURE = Kind(
    lambda value: isinstance(value, str) and value.startswith("val_") and len(value) > len("val_"),
    "'val_loss', or 'val_' and the name of one of the task's figures, such as 'val_accuracy'",
)


def _is_class_weight(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len(value) >= 2 and all(is_number(weight) and weight >= 0 for weight in value) and any(value)
    return value in ("", "balanced")


def _is_names(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(name, str) and name for name in value)


_ONE_TASK = "a sweep has one task"
_CLASSIFICATION = ("task.name", ("classification",))
_TASKS = open_sections.SECTIONS["task"]
TASK: Mapping[str, Field] = {
    "task.name": Field(
        Kind(_TASKS.accepts, _TASKS.allowed), "what is learned", not_searched=_ONE_TASK, default="classification"
    ),
    "task.args": Field(
        Kind(lambda value: isinstance(value, (Mapping, ConfigDict)), "a section of the arguments of your own task"),
        "the arguments of a task of your own ([tasks.md](tasks.md))",
        not_searched=_ONE_TASK,
        default={},
    ),
    "task.loss": Field(
        Kind(lambda value: isinstance(value, str), "'', the name of a loss of Keras, or 'package.module:function'"),
        "another loss than the task's own; '' takes that",
        not_searched=_ONE_TASK,
        default="",
    ),
    "task.figures": Field(
        Kind(_is_names, "names of Keras's metrics or 'package.module:function', in ()"),
        "further figures, measured after each epoch",
        not_searched=_ONE_TASK,
        several=True,
        default=(),
    ),
    "task.label_smoothing": Field(
        fraction(), "the share of each label that is spread over all classes", default=0.0, matters=_CLASSIFICATION
    ),
    "task.top_k": Field(
        Kind(lambda value: is_integer(value) and (value == 0 or 2 <= value <= 1000), "0, or 2 to 1000"),
        "also measure how often the class is among as many of the most probable ones; 0 does not",
        not_searched=_ONE_TASK,
        default=0,
        matters=_CLASSIFICATION,
    ),
    "task.class_weight": Field(
        Kind(_is_class_weight, "'', 'balanced', or a number of 0 or more for each class, in ()"),
        "what an example of each class weighs in training; `balanced` gives all classes the same sum",
        not_searched="it holds several numbers",
        several=True,
        default="",
        matters=_CLASSIFICATION,
    ),
}
