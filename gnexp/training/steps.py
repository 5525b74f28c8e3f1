"""Many training steps in one call, and predictions, on either of Keras's backends."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from gnexp.data import stream
from gnexp.data.splits import Split
from gnexp.tasks.task import Task, each_loss
from gnexp.training.augment import Augment

TrainSteps = Callable[[np.ndarray, int, int], np.ndarray]
Predict = Callable[[np.ndarray], tuple[np.ndarray, float]]
_PREDICTION_BATCH = 500


def train_steps(
    model: keras.Model, task: Task, split: Split, jit_compile: bool, augment: Augment | None = None
) -> TrainSteps:
    """Returns a function that trains a model for many steps inside one compiled graph.

    It holds the data on the device. Its steps are those of `model.fit` for the same batches, without Keras's overhead
    for data, metrics and sample weights.

    Args:
      model: the model, compiled with an optimizer that is built.
      task: what the model learns.
      split: the examples.
      jit_compile: compile with XLA on TensorFlow; JAX always does.
      augment: what changes each batch at random; None for nothing.

    Returns:
      A function of (order, start, stop): trains on the images `order[i]` for each i from start up to stop, where
      order is an int32 array of shape (steps, batch size). It stops early, after the first step whose loss is NaN or
      infinite. It returns a float32 array with a row for each step that it ran: the loss, regularization included, the
      sum of the examples' weights, and the weighted sum of each of the task's numbers.
    """
    make = _tensorflow_steps if keras.backend.backend() == "tensorflow" else _jax_steps
    run, put = make(model, task, jit_compile, augment or None)
    if not split.in_memory:
        return _read_ahead(run, put, split)
    columns = [None if column is None else put(column) for column in stream.parts(split)]
    return functools.partial(run, columns)


def _read_ahead(run: Callable[..., np.ndarray], put: Callable[[np.ndarray], Any], split: Split) -> TrainSteps:
    """Returns the function of `train_steps` for examples that are not in memory: each step is a call."""
    former: tuple[Any, int] = (None, 0)  # the order and the step with which the next call goes on
    batches: Iterator[Split] = iter(())

    def train(order: np.ndarray, start: int, stop: int) -> np.ndarray:
        nonlocal former, batches
        if former[0] is not order or former[1] != start:
            batches = stream.batches(split, order, start)
        rows: list[np.ndarray] = []
        while len(rows) < stop - start and (not rows or np.isfinite(rows[-1][0, 0])):
            batch = next(batches)
            columns = [None if column is None else put(column) for column in stream.parts(batch)]
            rows.append(run(columns, np.arange(len(batch), dtype=np.int32)[np.newaxis], 0, 1))
        former = order, start + len(rows)
        return np.concatenate(rows)

    return train


def _loss(task: Task, targets: Any, outputs: Any, weights: Any, penalties: Sequence[Any]) -> Any:
    """Returns the loss of a batch as Keras has it: the sum of the weighted losses over their number, and penalties."""
    losses = keras.ops.cast(each_loss(task.loss(targets, outputs), keras.ops.shape(targets)[0]), "float32")
    return sum(_in_float32(penalties), keras.ops.mean(losses if weights is None else losses * weights))


def _in_float32(losses: Sequence[Any]) -> list[Any]:
    return [keras.ops.cast(loss, "float32") for loss in losses]  # Those of activities are narrow in mixed precision.


def _row(task: Task, loss: Any, targets: Any, outputs: Any, weights: Any) -> Any:
    numbers = task.numbers(targets, outputs)
    if weights is None:
        weights = keras.ops.ones((keras.ops.shape(targets)[0],), "float32")
    each = [keras.ops.cast(numbers[name], "float32") for name in task.counted]
    sums = [keras.ops.sum(weights), *(keras.ops.sum(number * weights) for number in each)]
    return keras.ops.stack([keras.ops.cast(loss, "float32"), *sums])


def _tensorflow_steps(
    model: keras.Model, task: Task, jit_compile: bool, augment: Augment | None
) -> tuple[Callable, Callable]:
    import tensorflow as tf

    width = 2 + len(task.counted)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def run(columns, order, start, stop):
        def step(index, _, rows):
            inputs, targets, weights = (
                None if column is None else tf.gather(column, order[index]) for column in columns
            )
            if augment:
                inputs, targets = augment(inputs, targets)
            with tf.GradientTape() as tape:
                outputs = model(inputs, training=True)
                loss = _loss(task, targets, outputs, weights, model.losses)
                scaled = model.optimizer.scale_loss(loss)
            model.optimizer.apply(tape.gradient(scaled, model.trainable_weights))
            row = _row(task, loss, targets, outputs, weights)
            return index + 1, loss, rows.write(index - start, row)

        def going_well(index, loss, *_):
            return (index < stop) & tf.math.is_finite(loss)

        # XLA needs a size that is known beforehand. Without XLA, a call pays only for the steps that it runs.
        rows = tf.TensorArray(tf.float32, order.shape[0] if jit_compile else stop - start, element_shape=(width,))
        index, _, rows = tf.while_loop(going_well, step, (start, 0.0, rows), parallel_iterations=1)
        return index - start, rows.stack()

    def train(columns, order, start, stop):
        count, rows = run(columns, tf.constant(order), tf.constant(start), tf.constant(stop))
        return rows.numpy()[: int(count)]

    return train, tf.constant


def _jax_steps(model: keras.Model, task: Task, jit_compile: bool, augment: Augment | None) -> tuple[Callable, Callable]:
    del jit_compile
    import jax

    width = 2 + len(task.counted)
    optimizer = model.optimizer
    at_random = augment.variables if augment else []
    variables = model.trainable_variables, model.non_trainable_variables, optimizer.variables, at_random

    def changed(states, inputs, targets):
        with keras.StatelessScope(zip(at_random, states, strict=True)) as scope:
            inputs, targets = augment(inputs, targets)
        return [scope.get_current_value(variable) for variable in at_random], inputs, targets

    def forward(trainable, others, optimizing, inputs, targets, weights):
        outputs, others, penalties = model.stateless_call(trainable, others, inputs, training=True, return_losses=True)
        loss = _loss(task, targets, outputs, weights, penalties)
        with keras.StatelessScope(zip(optimizer.variables, optimizing, strict=True)):
            return optimizer.scale_loss(loss), (loss, _row(task, loss, targets, outputs, weights), others)

    @jax.jit
    def run(state, columns, order, start, stop):
        def step(carry):
            index, _, rows, (trainable, others, optimizing, states) = carry
            inputs, targets, weights = [None if column is None else column[order[index]] for column in columns]
            if augment:
                states, inputs, targets = changed(states, inputs, targets)
            gradients, (loss, row, others) = jax.grad(forward, has_aux=True)(
                trainable, others, optimizing, inputs, targets, weights
            )
            trainable, optimizing = optimizer.stateless_apply(optimizing, gradients, trainable)
            return index + 1, loss, rows.at[index - start].set(row), (trainable, others, optimizing, states)

        def going_well(carry):
            return (carry[0] < stop) & jax.numpy.isfinite(carry[1])

        zero = jax.numpy.float32(0)
        rows = jax.numpy.zeros((len(order), width), jax.numpy.float32)
        index, _, rows, state = jax.lax.while_loop(going_well, step, (start, zero, rows, state))
        return index - start, rows, state

    def train(columns, order, start, stop):
        state = tuple([variable.value for variable in group] for group in variables)
        count, rows, state = run(state, columns, order, np.int32(start), np.int32(stop))
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return np.asarray(rows)[: int(count)]

    return train, jax.numpy.asarray


def predict(model: keras.Model, jit_compile: bool) -> Predict:
    """Returns a function of inputs in memory that returns a model's outputs, as an array (n, ...), and its penalty.

    The outputs are those of `model.predict`, but traced only once, without a data pipeline to pay for. The penalty is
    what Keras adds to the loss: the terms of weights, of activities and of `add_loss`, as a mean over the batches.

    Args:
      model: the model; each call uses its weights at that time.
      jit_compile: compile with XLA on TensorFlow; JAX always does.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        shape = tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)

        @tf.function(input_signature=[shape], autograph=False, jit_compile=jit_compile)
        def run(images):
            outputs = model(images, training=False)
            return outputs, keras.ops.stack([keras.ops.zeros(()), *_in_float32(model.losses)])
    else:
        import jax

        @jax.jit
        def compiled(weights, others, images):
            outputs, _, losses = model.stateless_call(weights, others, images, training=False, return_losses=True)
            return outputs, keras.ops.stack([keras.ops.zeros(()), *_in_float32(losses)])

        def run(images):
            groups = model.trainable_variables, model.non_trainable_variables
            return compiled(*([variable.value for variable in group] for group in groups), images)

    def every(images):
        batches = [images[start : start + _PREDICTION_BATCH] for start in range(0, len(images), _PREDICTION_BATCH)]
        found = [tuple(map(np.asarray, run(batch))) for batch in batches]
        penalties = [float(each.astype(np.float64).sum()) for _, each in found]
        mean = float(np.average(penalties, weights=[len(batch) for batch in batches]))
        return np.concatenate([outputs for outputs, _ in found]), mean

    return every
