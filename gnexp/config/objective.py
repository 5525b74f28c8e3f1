"""The figures that a task measures, the one that a training or a sweep optimizes, and which of two values is better."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gnexp.errors import UserError

_Item = TypeVar("_Item")
MAX, MIN = "max", "min"
DIRECTIONS = (MAX, MIN)
_BETTER = {MAX: "higher", MIN: "lower"}
_PREFIX = "val_"
_GIVEN = ("loss", "epoch", "learning_rate", "seconds")  # what the history of a training holds besides figures

# The figures of the built-in tasks, besides the loss; a page and a table show the first.
FIGURES: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "multilabel": ("accuracy", "f1"),
    "segmentation": ("mean_iou", "dice", "accuracy"),
    "regression": ("mae", "mse", "r2"),
}
# Of these, and of Keras's own losses and metrics, it is known which of two values is better.
_HIGHER = (
    *("accuracy", "f1", "mean_iou", "dice", "r2"),
    *("binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "top_k_categorical_accuracy"),
    *("sparse_top_k_categorical_accuracy", "auc", "precision", "recall", "f1_score", "fbeta_score", "r2_score"),
    *("binary_io_u", "io_u", "mean_io_u", "one_hot_io_u", "one_hot_mean_io_u", "cosine_similarity"),
    *("pearson_correlation", "concordance_correlation", "true_positives", "true_negatives"),
)
_LOWER = (
    *("loss", "mae", "mse", "mape", "msle", "mean_squared_error", "mean_absolute_error", "root_mean_squared_error"),
    *("mean_absolute_percentage_error", "mean_squared_logarithmic_error", "log_cosh", "log_cosh_error", "huber"),
    *("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy", "hinge", "squared_hinge"),
    *("binary_focal_crossentropy", "categorical_focal_crossentropy", "categorical_hinge", "kl_divergence", "poisson"),
    *("false_positives", "false_negatives"),
)
_KNOWN = {**dict.fromkeys(_HIGHER, MAX), **dict.fromkeys(_LOWER, MIN)}
# The lowest and the highest value that a figure can have. Of those that are known, the others are shares: from 0 to 1.
ANYTHING = (-math.inf, math.inf)
_COEFFICIENTS = ("cosine_similarity", "pearson_correlation", "concordance_correlation")
_BOUNDS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(_HIGHER, (0.0, 1.0)),
    **dict.fromkeys(_COEFFICIENTS, (-1.0, 1.0)),
    **dict.fromkeys(("r2", "r2_score"), (-math.inf, 1.0)),
    **dict.fromkeys(("true_positives", "true_negatives"), (0.0, math.inf)),
    **dict.fromkeys(_LOWER, (0.0, math.inf)),
    "poisson": ANYTHING,
}


@dataclasses.dataclass(frozen=True)
class Objective:
    """A figure and its direction, in keras-tuner's words.

    Attributes:
      name: the figure's name in the history of a training.
      direction: "max" where higher is better, "min" where lower is.
    """

    name: str
    direction: str

    @property
    def _sign(self) -> int:
        return 1 if self.direction == MAX else -1

    def is_better(self, value: float, other: float) -> bool:
        """Tells whether a value is better than another."""
        return self._sign * value > self._sign * other

    def best(
        self, items: Iterable[_Item], key: Callable[[_Item], float] = lambda item: item, default: _Item | None = None
    ) -> _Item | None:
        """Returns the item with the best `key`, the first of equals; `default` if there are no items."""
        return max(items, key=lambda item: self._sign * key(item), default=default)

    def ranked(self, items: Iterable[_Item], key: Callable[[_Item], float] = lambda item: item) -> list[_Item]:
        """Returns the items, the best `key` first; equals keep their order."""
        return sorted(items, key=lambda item: -self._sign * key(item))


def snake(name: str) -> str:
    """Returns the name that a figure has in the records: of `package.module:function` the last part, in snake case."""
    name = name.rpartition(":")[2]
    if name.isupper():
        return name.lower()
    parts = [
        f"_{letter.lower()}" if letter.isupper() and place else letter.lower() for place, letter in enumerate(name)
    ]
    return "".join(parts)


def figures(flat: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Returns the names of the figures that a config's task measures besides the loss; None for a task of one's own.

    Args:
      flat: a config by dotted path.
    """
    built_in = FIGURES.get(flat.get("task.name", "classification"))
    if built_in is None:
        return None
    top = flat.get("task.top_k", 0)
    return (*built_in, *([top_k(top)] if top else []), *map(snake, flat.get("task.figures", ())))


def top_k(count: int) -> str:
    """Returns the name of the share of examples whose class is among the `count` most probable ones."""
    return f"top_{count}_accuracy"


def _direction(figure: str) -> str | None:
    return MAX if figure.startswith("top_") and figure.endswith("_accuracy") else _KNOWN.get(figure)


def bounds(name: str) -> tuple[float, float]:
    """Returns the lowest and the highest value that a figure can have, infinite where there is none or none is known.

    Args:
      name: as a history has it (val_accuracy), or without its prefix.
    """
    figure = name.removeprefix(_PREFIX)
    return (0.0, 1.0) if is_accuracy(figure) else _BOUNDS.get(figure, ANYTHING)


def of_figure(name: str, direction: str = "", key: str = "objective") -> Objective:
    """Returns a figure as an objective.

    Args:
      name: its name in the history of a training, such as val_accuracy.
      direction: a config's `direction`, for a figure of which gnexp does not know it.
      key: where the config names it, for the message.

    Raises:
      UserError: the direction is known neither way.
    """
    known = _direction(name.removeprefix(_PREFIX)) or direction
    if not known:
        raise UserError(
            f"config.direction='' is not allowed with config.{key}={name!r}, of which gnexp does not know whether "
            "higher is better: it must be 'max' or 'min'"
        )
    return Objective(name, known)


def of(flat: Mapping[str, Any]) -> Objective:
    """Returns the objective of a config by dotted path."""
    return of_figure(flat["objective"], flat.get("direction", ""))


def headline(flat: Mapping[str, Any]) -> Objective:
    """Returns the figure by which a page compares trainings on the test set: the objective's, unless that is the loss.

    Args:
      flat: a config by dotted path.
    """
    chosen = flat["objective"].removeprefix(_PREFIX)
    first = next(iter(figures(flat) or ()), None)
    if chosen == "loss" and first:
        return of_figure(first)
    return Objective(chosen, of(flat).direction)


def is_accuracy(figure: str) -> bool:
    """Tells whether a figure is a share of what is right, so that the rest is an error."""
    return figure == "accuracy" or figure.endswith("_accuracy")


def words(figure: str) -> str:
    """Returns a figure's name as text has it, without underscores."""
    return figure.replace("_", " ")


def _named(flat: Mapping[str, Any]) -> dict[str, str]:
    """Returns the figures that a config names, by the key."""
    return {key: flat[key] for key in ("objective", "schedule.watch") if key in flat}


def check_directions(flat: Mapping[str, Any], figures: Mapping[str, str]) -> None:
    """Checks that a config and gnexp have the directions that a task of the user's gives its figures.

    Args:
      flat: a config by dotted path.
      figures: the directions by the figures' names.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    for figure, direction in figures.items():
        if direction not in DIRECTIONS:
            raise UserError(
                f"{flat['task.name']!r} has the direction {direction!r} for {figure!r}: it must be max or min"
            )
        if _direction(figure) not in (None, direction):
            raise UserError(
                f"{flat['task.name']!r} has the direction {direction!r} for {figure!r}, of which "
                f"{_BETTER[_direction(figure)]} is better: give the figure another name"
            )
    for key, name in _named(flat).items():
        direction = figures.get(name.removeprefix(_PREFIX))
        if direction and direction != of_figure(name, flat.get("direction", ""), key).direction:
            raise UserError(
                f"config.direction={flat['direction']!r} is not allowed with config.{key}={name!r}: "
                f"{flat['task.name']!r} says {direction!r}"
            )


def check(flat: Mapping[str, Any], known: Sequence[str] | None) -> None:
    """Checks that the figures that a config names are among those that its task measures.

    Args:
      flat: a config by dotted path.
      known: the names of the task's figures besides the loss, or None if they are not known yet.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    for figure in known or ():
        if figure in _GIVEN or figure.startswith(_PREFIX) or known.count(figure) > 1:
            why = "two figures have" if known.count(figure) > 1 else "gnexp itself uses"
            raise UserError(f"{flat.get('task.name')!r} cannot have a figure {figure!r}: {why} that name")
    named, direction = _named(flat), flat.get("direction", "")
    allowed = [f"{_PREFIX}{figure}" for figure in ("loss", *(known or ()))]
    for key, name in named.items():
        if known is not None and name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"config.{key}={name!r} is not allowed: {flat.get('task.name')!r} has {', '.join(allowed)}{hint}"
            )
        of_figure(name, direction, key)
    theirs = [_direction(name.removeprefix(_PREFIX)) for name in named.values()]
    if direction and None not in theirs and direction != theirs[0]:
        raise UserError(
            f"config.direction={direction!r} is not allowed with config.objective={flat['objective']!r}, of which "
            f"{_BETTER[theirs[0]]} is better; it must be ''"
        )
