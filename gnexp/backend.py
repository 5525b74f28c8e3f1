"""All that is special to one Keras backend: many training steps in one call, determinism, GPU memory, devices."""

import gc
import os
from collections.abc import Callable

# JAX otherwise takes three quarters of a GPU at once; read when its first device is touched.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import numpy as np

from gnexp.config import BACKENDS
from gnexp.errors import UserError

TrainSteps = Callable[[np.ndarray, int, int], int]


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


def forget() -> None:
    """Frees what the trainings of this process have left behind; none may be going on."""
    keras.backend.clear_session()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    else:
        from tensorflow.python.framework import ops

        # Keras's optimizer sums gradients over replicas through tf.custom_gradient, which notes a function for each
        # step that is traced, for ever, and with it the step's graph: 8 MB for a small network.
        registry = ops._gradient_registry._registry
        for name in [name for name in registry if name.startswith("CustomGradient-")]:
            del registry[name]
    gc.collect()


def devices() -> list[str]:
    """Returns the devices that training runs on, by their makers' names where those are known."""
    if keras.backend.backend() == "jax":
        import jax

        return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    return [
        f"{device.name} {tf.config.experimental.get_device_details(device).get('device_name', '')}".strip()
        for device in found
    ]


def train_steps(model: keras.Model, images: np.ndarray, labels: np.ndarray, jit_compile: bool) -> TrainSteps:
    """Returns a function that runs many of a compiled model's `train_step`s inside one compiled graph.

    It holds the data on the device and does what `model.fit` does for the same batches, without its cost per step.

    Args:
      model: compiled, its optimizer and metrics built.
      images: array of shape (n, ...), of the model's input dtype.
      labels: int32 array of shape (n,).
      jit_compile: compile with XLA on TensorFlow; JAX always does.

    Returns:
      A function of (order, start, stop): trains on the images `order[i]` for each i from start up to stop, where
      order is an int32 array of shape (steps, batch size). It stops early, behind the first step that leaves the
      running loss NaN or infinite, and returns the index behind the last step that it ran.
    """
    make = _tensorflow_steps if keras.backend.backend() == "tensorflow" else _jax_steps
    return make(model, images, labels, jit_compile)


def _tensorflow_steps(model: keras.Model, images: np.ndarray, labels: np.ndarray, jit_compile: bool) -> TrainSteps:
    import tensorflow as tf

    images, labels = tf.constant(images), tf.constant(labels)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def run(order, start, stop):
        def step(index, _):
            logs = model.train_step((tf.gather(images, order[index]), tf.gather(labels, order[index])))
            return index + 1, logs["loss"]

        def going_well(index, loss):
            return (index < stop) & tf.math.is_finite(loss)

        return tf.while_loop(going_well, step, (start, tf.constant(0.0)), parallel_iterations=1)[0]

    return lambda order, start, stop: int(run(tf.constant(order), tf.constant(start), tf.constant(stop)))


def _jax_steps(model: keras.Model, images: np.ndarray, labels: np.ndarray, jit_compile: bool) -> TrainSteps:
    del jit_compile
    import jax

    images, labels = jax.numpy.asarray(images), jax.numpy.asarray(labels)
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )

    @jax.jit
    def run(state, images, labels, order, start, stop):
        def step(carry):
            index, _, state = carry
            logs, state = model.train_step(state, (images[order[index]], labels[order[index]]))
            return index + 1, logs["loss"], state

        def going_well(carry):
            return (carry[0] < stop) & jax.numpy.isfinite(carry[1])

        index, _, state = jax.lax.while_loop(going_well, step, (start, jax.numpy.float32(0), state))
        return index, state

    def train(order, start, stop):
        state = tuple([variable.value for variable in group] for group in variables)
        index, state = run(state, images, labels, order, np.int32(start), np.int32(stop))
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return int(index)

    return train
