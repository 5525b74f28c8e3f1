"""Everything specific to a Keras backend: many steps in one call, predictions, determinism, memory, devices."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator

# Otherwise JAX reserves three quarters of a GPU's memory. It reads this when it first uses a device.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import numpy as np
from keras.src.utils import module_utils

from gnexp.config.schema import BACKENDS
from gnexp.errors import UserError
from gnexp.tasks.task import Task

TrainSteps = Callable[[np.ndarray, int, int], tuple[np.ndarray, int]]
_PREDICTION_BATCH = 500


def prepare(deterministic: bool) -> None:
    """Sets the backend up for one training: GPU memory on demand, and deterministic operations where asked for.

    Raises:
      UserError: the backend is neither TensorFlow nor JAX.
    """
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={name} is not allowed: it must be {' or '.join(BACKENDS)}")
    if name == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        if deterministic:
            tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keeps Keras on JAX from importing TensorFlow, which takes seconds, only to ask whether a value is one of its own.

    If TensorFlow has been imported already, nothing changes.
    """
    lazy = module_utils.tensorflow
    known = lazy._available
    if "tensorflow" not in sys.modules:
        lazy._available = False
    try:
        yield
    finally:
        lazy._available = known


def seed(value: int) -> None:
    """Seeds Python, NumPy, Keras and the backend."""
    with without_tensorflow():
        keras.utils.set_random_seed(value)


def forget() -> None:
    """Frees what earlier trainings in this process have left behind; none may still be running."""
    keras.backend.clear_session(free_memory=False)  # One collection, at the end, is enough: each takes a while.
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    else:
        from tensorflow.python.framework import ops

        # Keras's optimizer sums gradients over replicas through tf.custom_gradient, which registers a function for each
        # traced step, forever, and thereby keeps the step's graph: 8 MB for a small network.
        registry = ops._gradient_registry._registry
        for name in [name for name in registry if name.startswith("CustomGradient-")]:
            del registry[name]
    gc.collect()


def devices() -> list[str]:
    """Returns the devices that training runs on, with their makers' names if those are known."""
    if keras.backend.backend() == "jax":
        import jax

        return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    return [
        f"{device.name} {tf.config.experimental.get_device_details(device).get('device_name', '')}".strip()
        for device in found
    ]


def train_steps(
    model: keras.Model, task: Task, images: np.ndarray, labels: np.ndarray, jit_compile: bool
) -> TrainSteps:
    """Returns a function that trains a model for many steps inside one compiled graph.

    It holds the data on the device. Its steps are those of `model.fit` for the same batches, without Keras's overhead
    for data, metrics and sample weights.

    Args:
      model: the model, compiled with an optimizer that is built.
      task: what the model learns.
      images: array of shape (n, ...), of the model's input dtype.
      labels: int32 array of shape (n,).
      jit_compile: compile with XLA on TensorFlow; JAX always does.

    Returns:
      A function of (order, start, stop): trains on the images `order[i]` for each i from start up to stop, where
      order is an int32 array of shape (steps, batch size). It stops early, after the first step whose loss is NaN or
      infinite. It returns the loss of each step that it ran, regularization included, as a float32 array, and how many
      images of these steps the model had right.
    """
    make = _tensorflow_steps if keras.backend.backend() == "tensorflow" else _jax_steps
    return make(model, task, images, labels, jit_compile)


def _tensorflow_steps(
    model: keras.Model, task: Task, images: np.ndarray, labels: np.ndarray, jit_compile: bool
) -> TrainSteps:
    import tensorflow as tf

    images, labels = tf.constant(images), tf.constant(labels)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def run(order, start, stop):
        def step(index, _, losses, correct):
            batch = tf.gather(labels, order[index])
            with tf.GradientTape() as tape:
                logits = model(tf.gather(images, order[index]), training=True)
                loss = sum(model.losses, task.loss(batch, logits))
                scaled = model.optimizer.scale_loss(loss)
            model.optimizer.apply(tape.gradient(scaled, model.trainable_weights))
            return index + 1, loss, losses.write(index - start, loss), correct + task.correct(batch, logits)

        def going_well(index, loss, *_):
            return (index < stop) & tf.math.is_finite(loss)

        # XLA needs a size that is known beforehand. Without XLA, a call pays only for the steps that it runs.
        losses = tf.TensorArray(tf.float32, order.shape[0] if jit_compile else stop - start, element_shape=())
        index, _, losses, correct = tf.while_loop(going_well, step, (start, 0.0, losses, 0), parallel_iterations=1)
        return index - start, losses.stack(), correct

    def train(order, start, stop):
        count, losses, correct = run(tf.constant(order), tf.constant(start), tf.constant(stop))
        return losses.numpy()[: int(count)], int(correct)

    return train


def _jax_steps(model: keras.Model, task: Task, images: np.ndarray, labels: np.ndarray, jit_compile: bool) -> TrainSteps:
    del jit_compile
    import jax

    images, labels = jax.numpy.asarray(images), jax.numpy.asarray(labels)
    optimizer = model.optimizer
    variables = model.trainable_variables, model.non_trainable_variables, optimizer.variables

    def forward(trainable, others, optimizing, images, labels):
        logits, others, penalties = model.stateless_call(trainable, others, images, training=True, return_losses=True)
        loss = sum(penalties, task.loss(labels, logits))
        with keras.StatelessScope(zip(optimizer.variables, optimizing, strict=True)):
            return optimizer.scale_loss(loss), (loss, task.correct(labels, logits), others)

    @jax.jit
    def run(state, images, labels, order, start, stop):
        def step(carry):
            index, _, losses, correct, (trainable, others, optimizing) = carry
            batch = images[order[index]], labels[order[index]]
            gradients, (loss, more, others) = jax.grad(forward, has_aux=True)(trainable, others, optimizing, *batch)
            trainable, optimizing = optimizer.stateless_apply(optimizing, gradients, trainable)
            return index + 1, loss, losses.at[index - start].set(loss), correct + more, (trainable, others, optimizing)

        def going_well(carry):
            return (carry[0] < stop) & jax.numpy.isfinite(carry[1])

        zero = jax.numpy.float32(0)
        losses = jax.numpy.zeros(len(order), jax.numpy.float32)
        index, _, losses, correct, state = jax.lax.while_loop(
            going_well, step, (start, zero, losses, np.int32(0), state)
        )
        return index - start, losses, correct, state

    def train(order, start, stop):
        state = tuple([variable.value for variable in group] for group in variables)
        count, losses, correct, state = run(state, images, labels, order, np.int32(start), np.int32(stop))
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return np.asarray(losses)[: int(count)], int(correct)

    return train


def predict(model: keras.Model, jit_compile: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that returns a model's outputs, as arrays (n, ...), for images in memory.

    It computes what `model.predict` does, but is traced only once and has no data pipeline to pay for.

    Args:
      model: the model; each call uses its weights at that time.
      jit_compile: compile with XLA on TensorFlow; JAX always does.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        shape = tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)

        @tf.function(input_signature=[shape], autograph=False, jit_compile=jit_compile)
        def outputs(images):
            return model(images, training=False)
    else:
        import jax

        @jax.jit
        def run(weights, others, images):
            return model.stateless_call(weights, others, images, training=False)[0]

        def outputs(images):
            groups = model.trainable_variables, model.non_trainable_variables
            return run(*([variable.value for variable in group] for group in groups), images)

    def all_outputs(images):
        starts = range(0, len(images), _PREDICTION_BATCH)
        return np.concatenate([np.asarray(outputs(images[start : start + _PREDICTION_BATCH])) for start in starts])

    return all_outputs
