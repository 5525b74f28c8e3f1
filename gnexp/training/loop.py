"""The computation of one training: it reads and writes no files, and can be stopped and resumed after any step."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict

from gnexp.config import objective
from gnexp.config.paths import flatten
from gnexp.data.splits import Split, Splits
from gnexp.errors import DivergedError
from gnexp.models.build import build
from gnexp.norms import native
from gnexp.tasks.create import create
from gnexp.tasks.task import Evaluation
from gnexp.training import backend, optimizers, steps
from gnexp.training.augment import Augment
from gnexp.training.evaluation import evaluate, values
from gnexp.training.state import PLATEAU, Progress, check_arrays, checked, upgraded
from gnexp.training.traced import Kept

# Long enough to make a call's overhead negligible, short enough for Ctrl-C and the progress bar to respond.
_SECONDS_PER_CALL = 0.2
_SECONDS_MEASURED = 1.0  # for an estimate


class StoppedError(Exception):
    """The training was asked to stop, and stopped after a step."""


def kernel(config: ConfigDict) -> Callable[..., Any] | None:
    """Returns the C++ kernel that computes the norms of a config's training, or None if it is not used."""
    wanted = config.native and not config.jit_compile and config.model.norm in ("group", "layer", "instance")
    return native.load() if wanted else None


class Training:
    """The training of one config, from its first step to its last.

    Args:
      config: the config of the training.
      splits: its dataset.
      kept: the network of earlier trainings of the process, to be used again if it can be; None for a new one.

    Attributes:
      task: what the network learns.
      objective: what chooses the best epoch.
      augment: what changes the training images at random.
      model: the compiled keras.Model, with the weights of the last step.
      validation: the `Evaluation` of the last epoch (None after `restore`, until an epoch has ended).
    """

    def __init__(self, config: ConfigDict, splits: Splits, kept: Kept | None = None):
        self.config = config
        self.splits = splits
        kept = Kept() if kept is None else kept
        kept.forget_another(config, splits)
        backend.prepare(config.deterministic)
        backend.seed(config.seed)
        self.task = create(config, splits)
        self.objective = objective.of(flatten(config))
        model = self._built()
        if kernel(config):
            native.use(model)
        batch = config.data.batch_size
        self.steps_per_epoch = math.ceil(len(splits.train) / batch)
        optimizer = optimizers.build(
            config.optimizer,
            config.schedule,
            self.steps_per_epoch,
            config.epochs,
            config.precision,
            config.jit_compile,
        )
        if not config.optimizer.decay_norms:
            optimizers.spare_norms(optimizer, model.trainable_variables)
        optimizer.build(model.trainable_variables)
        model.compile(optimizer)  # only to attach the optimizer to the model
        augment = Augment(config, splits, self.task)
        self._traced = kept.shared(config, splits, model, augment, lambda: self._functions(model, augment))
        self.model, self.augment = self._traced.model, self._traced.augment
        watched = objective.of_figure(config.schedule.watch, config.direction)
        self._plateau = optimizers.plateau(config.schedule, watched)
        self._plateau.set_model(self.model)
        self._plateau.on_train_begin()
        self._best_weights: list[np.ndarray] = []
        self._progress = Progress()
        self.validation: Evaluation | None = None

    def _functions(self, model: keras.Model, augment: Augment) -> tuple[steps.TrainSteps, Callable]:
        weighted = dataclasses.replace(self.splits.train, weights=self.task.weights(self.splits.train))
        train = steps.train_steps(model, self.task, weighted, self.config.jit_compile, augment)
        return train, steps.predict(model, self.config.jit_compile)

    def _built(self) -> keras.Model:
        config, splits = self.config, self.splits
        return build(config.model, splits.input_shape, self.task.outputs, config.precision, splits.input_dtype)

    @property
    def history(self) -> list[dict[str, float]]:
        """The figures of each finished epoch (`gnexp.workdir.result.EPOCH`)."""
        return self._progress.history

    @property
    def best_value(self) -> float | None:
        """The objective's best value so far, None before the first epoch has ended."""
        return self._progress.best_value

    @property
    def best_epoch(self) -> int:
        """The number of the epoch that reached `best_value`, 0 before the first epoch has ended."""
        return self._progress.best_epoch

    def best(self, epochs: int) -> dict[str, float]:
        """Returns the best of the first `epochs` finished epochs, by the objective."""
        return self.objective.best(self.history[:epochs], key=lambda epoch: epoch[self.objective.name])

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `config.patience` epochs brought no better objective, which ends the training."""
        return 0 < self.config.patience <= len(self.history) - self.best_epoch

    @property
    def step(self) -> int:
        """The number of steps done in the current epoch."""
        return self._progress.step

    def epochs(
        self,
        on_steps: Callable[[int, int, int], None] = lambda epoch, done, total: None,
        stop: Callable[[], bool] = lambda: False,
        until: int | None = None,
    ) -> Iterator[dict[str, float]]:
        """Trains, and yields each epoch's figures when it has ended.

        Args:
          on_steps: called several times a second with (epoch from 1, steps done, steps in the epoch).
          stop: called between steps; the training stops when it returns True.
          until: the number of the last epoch, by default the config's `epochs`.

        Raises:
          DivergedError: the loss is NaN or infinite.
          FunctionError: the user's code fails, or a figure is NaN or infinite.
          StoppedError: `stop` returned True; `state` returns what is needed to resume with the next step.
        """
        while len(self.history) < (until or self.config.epochs) and not self.out_of_patience:
            yield self._epoch(on_steps, stop)

    def _epoch(self, on_steps: Callable[[int, int, int], None], stop: Callable[[], bool]) -> dict[str, float]:
        began = time.perf_counter() - self._progress.epoch_seconds
        number, progress = len(self.history) + 1, self._progress
        for order, offset in self._batches(number):
            self._run(order, offset, number, began, on_steps, stop)
        self.validation = self.evaluate(self.splits.validation)
        if not math.isfinite(self.validation.loss):
            raise DivergedError(f"the validation loss is {self.validation.loss} after epoch {number}")
        weight, *sums = progress.sums
        means = {name: total / weight for name, total in zip(self.task.counted, sums, strict=True)}
        validation = {"loss": self.validation.loss, **self.validation.figures}
        epoch = {
            "epoch": number,
            "loss": progress.loss / len(self.splits.train),
            **values(self.task, means),
            **{f"val_{name}": value for name, value in validation.items()},
            "learning_rate": optimizers.learning_rate(self.model.optimizer),
            "seconds": round(time.perf_counter() - began, 3),
        }
        self._finish(epoch)
        return epoch

    def epoch_seconds(self) -> float:
        """Returns about how long an epoch takes, from about a second of it; the model is trained meanwhile."""
        order, _ = next(self._batches(1))
        images = self.splits.validation.inputs[: self.config.data.batch_size]
        self._traced.train(order, 0, 1)  # compiles
        self._traced.predict(images)
        done, began = 0, time.perf_counter()
        while done < len(order) and time.perf_counter() < began + _SECONDS_MEASURED:
            self._traced.train(order, done, done + 1)
            done += 1
        trained = time.perf_counter()
        self._traced.predict(images)
        validation = (time.perf_counter() - trained) * len(self.splits.validation) / len(images)
        return (trained - began) / done * self.steps_per_epoch + validation

    def _batches(self, epoch: int) -> Iterator[tuple[np.ndarray, int]]:
        """Yields the epoch's order as arrays (steps, batch size), with the step that each starts at.

        Only the last step may be smaller; it comes in an array of its own. The order depends only on the seed and the
        epoch.
        """
        count, batch = len(self.splits.train), self.config.data.batch_size
        order = np.random.default_rng((self.config.seed, epoch)).permutation(count).astype(np.int32)
        whole = count // batch
        if whole:
            yield order[: whole * batch].reshape(whole, batch), 0
        if count % batch:
            yield order[np.newaxis, whole * batch :], whole

    def _run(self, order: np.ndarray, offset: int, number: int, began: float, on_steps, stop) -> None:
        progress, end = self._progress, offset + len(order)
        many = 1
        while progress.step < end:
            if stop():
                progress.epoch_seconds = time.perf_counter() - began
                raise StoppedError
            target = min(progress.step + many, end)
            called = time.perf_counter()
            rows = self._traced.train(order, progress.step - offset, target - offset)
            took = time.perf_counter() - called
            progress.step += len(rows)
            for loss, *sums in rows.tolist():
                progress.loss += loss * order.shape[1]
                progress.sums = [a + b for a, b in zip(progress.sums or [0.0] * len(sums), sums, strict=True)]
            on_steps(number, progress.step, self.steps_per_epoch)
            if not math.isfinite(rows[-1, 0]):
                raise DivergedError(f"the loss is {rows[-1, 0]} at step {progress.step} of epoch {number}")
            # The first call compiles, so its time says nothing: grow at most eightfold at a time.
            many = max(1, min(8 * many, int(many * _SECONDS_PER_CALL / took)))

    def _finish(self, epoch: dict[str, float]) -> None:
        progress = self._progress
        progress.history.append(epoch)
        progress.step, progress.loss, progress.sums, progress.epoch_seconds = 0, 0.0, [], 0.0
        value = epoch[self.objective.name]
        if progress.best_value is None or self.objective.is_better(value, progress.best_value):
            progress.best_value, progress.best_epoch = value, epoch["epoch"]
            self._best_weights = self.model.get_weights()
        if self.config.schedule.name == "plateau":
            watched = self.config.schedule.watch
            self._plateau.on_epoch_end(epoch["epoch"] - 1, {watched: epoch[watched]})

    def evaluate(self, split: Split) -> Evaluation:
        """Evaluates the model with its current weights; in float64, the loss with what Keras adds, such as L2 terms."""
        return evaluate(self.task, self._traced.predict, split, self.config.task.figures)

    def take_best_weights(self) -> None:
        """Sets the model's weights to those of the best epoch."""
        self.model.set_weights(self._best_weights)

    def best_model(self) -> keras.Model:
        """Returns the network with the weights of the best epoch, and without the last epoch's optimizer."""
        model = self._built()
        model.set_weights(self._best_weights)
        return model

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns everything that `restore` needs: arrays by name, and values that JSON can hold."""
        arrays = {
            f"{kind}.{index}": keras.ops.convert_to_numpy(variable)
            for kind, variables in self._traced.variables().items()
            for index, variable in enumerate(variables)
        }
        arrays |= {f"best.{index}": array for index, array in enumerate(self._best_weights)}
        plateau = {name: getattr(self._plateau, name) for name in PLATEAU}
        return arrays, {**dataclasses.asdict(self._progress), "plateau": plateau}

    def restore(self, arrays: dict[str, np.ndarray], progress: dict[str, Any]) -> None:
        """Resumes a training of the same config from what `state` returned.

        Raises:
          ValueError: it is not of a training of this config; nothing is changed.
        """
        progress = upgraded(progress, self.config.data.batch_size)
        found, plateau = checked(progress, self.steps_per_epoch, self.config.epochs, 1 + len(self.task.counted))
        wanted = {**self._traced.variables(), "best": self.model.weights if found.history else []}
        check_arrays(
            arrays, {f"{kind}.{index}": each for kind, group in wanted.items() for index, each in enumerate(group)}
        )
        for kind, variables in self._traced.variables().items():
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{kind}.{index}"])
        count = len(self.model.weights) if found.history else 0
        self._best_weights = [arrays[f"best.{index}"] for index in range(count)]
        for name in PLATEAU:
            setattr(self._plateau, name, plateau[name])
        self._progress = found
