"""A network with the functions that train it, which later trainings of the same process share where they can.

Tracing them, and on JAX compiling them, takes longer than many a training. Trainings that differ only in what variables
hold, such as those of two seeds, get by with one network: it begins anew with the weights and states of another.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from ml_collections import ConfigDict

from gnexp.config import augment
from gnexp.config.paths import flatten
from gnexp.data.splits import Splits
from gnexp.training import backend
from gnexp.training.augment import Augment
from gnexp.training.steps import Predict, TrainSteps

# A training of more takes long by itself, and would begin with the memory of two.
_MOST_PARAMETERS = 5_000_000
# Code of the user's may compute what is traced from a seed of its own.
_WITH_CODE = ("model.name", "task.name", "task.loss")
_DRAWS = {"aug_mix"}  # layers of Keras that trace what the seed draws


@dataclasses.dataclass(frozen=True)
class Traced:
    """A network, and its functions, which are traced when they are first called.

    Attributes:
      model: compiled, with its optimizer.
      augment: what changes the training images at random.
      train: see `steps.train_steps`.
      predict: see `steps.predict`.
    """

    model: keras.Model
    augment: Augment
    train: TrainSteps
    predict: Predict

    def variables(self) -> dict[str, list[keras.Variable]]:
        """Returns all that changes during a training."""
        return variables(self.model, self.augment)


def variables(model: keras.Model, augment: Augment) -> dict[str, list[keras.Variable]]:
    """Returns all that changes while a compiled model is trained."""
    return {
        "model": model.variables,  # the weights, and the states of the dropout layers' seeds
        "optimizer": model.optimizer.variables,
        "augment": augment.variables,
    }


class Kept:
    """The network of the last training of a process."""

    def __init__(self):
        self._traced: Traced | None = None
        self._of: tuple[Splits, dict[str, Any]] | None = None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._traced is not None

    def forget_another(self, config: ConfigDict, splits: Splits) -> None:
        """Forgets the network unless a training with this config can have it."""
        if self and not (self._of[0] is splits and self._of[1] == _key(config)):
            self.forget()
        backend.reset_names()  # A network's layers have the names that they have in a process of its own.

    def shared(
        self,
        config: ConfigDict,
        splits: Splits,
        model: keras.Model,
        augment: Augment,
        make: Callable[[], tuple[TrainSteps, Predict]],
    ) -> Traced:
        """Returns a traced network that begins as the given one.

        Args:
          config: of the training, after `forget_another`.
          splits: its dataset.
          model: the network as the training begins with it, compiled and built.
          augment: what changes the training images, as it begins.
          make: returns the functions (train, predict) of the given network.
        """
        if self:
            given = variables(model, augment)
            for kind, group in self._traced.variables().items():
                for variable, value in zip(group, given[kind], strict=True):
                    variable.assign(value)
            return self._traced
        traced = Traced(model, augment, *make())
        if (key := _key(config)) and model.count_params() <= _MOST_PARAMETERS:
            self._traced, self._of = traced, (splits, key)
        return traced

    def forget(self) -> None:
        """Frees the network, and everything else that trainings have left behind."""
        self._traced = self._of = None
        backend.forget()


def _key(config: ConfigDict) -> dict[str, Any]:
    """Returns all of a config that is traced, or may be; nothing if that is not known."""
    flat = flatten(config)
    if any(":" in str(flat.get(path, "")) for path in _WITH_CODE) or _DRAWS & set(augment.used(flat)):
        return {}
    free = ["seed"] if config.schedule.name == "cosine" else ["seed", "optimizer.learning_rate"]
    return {path: value for path, value in flat.items() if path not in free}
