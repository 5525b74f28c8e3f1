"""What each of Keras's backends needs before a training and after it: threads, seeds, determinism, memory, devices."""

import contextlib
import gc
import logging
import math
import os
import sys
from collections.abc import Iterator

# Otherwise JAX reserves three quarters of a GPU's memory. It reads this when it first uses a device.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
from keras.src.utils import module_utils
from ml_collections import ConfigDict

from gnexp.config.schema import BACKENDS
from gnexp.errors import UserError
from gnexp.training import memory

_THREADS, _FEW = "TF_NUM_INTRAOP_THREADS", 1 << 13


def prepare(config: ConfigDict, shape: tuple[int, ...]) -> None:
    """Sets the backend up: GPU memory on demand, deterministic operations where asked for, threads.

    On a CPU, TensorFlow divides each operation among threads. With batches as small as here, that takes longer than it
    saves; TensorFlow takes other numbers of threads only before its first operation. TF_NUM_INTRAOP_THREADS overrules.

    Args:
      config: of a training, or of the sweep whose trials will run in this process.
      shape: of an input.

    Raises:
      UserError: the backend is neither TensorFlow nor JAX.
    """
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={name} is not allowed: it must be {' or '.join(BACKENDS)}")
    if name == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        largest = max((each.data.batch_size for each in memory.largest(config)), default=config.data.batch_size)
        if not gpus and _THREADS not in os.environ and largest * math.prod(shape) <= _FEW:
            with contextlib.suppress(RuntimeError):  # TensorFlow has begun.
                tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.get_logger().addFilter(_no_advice_on_tracing)  # adds it only once
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()


def _no_advice_on_tracing(record: logging.LogRecord) -> bool:
    """Leaves out what TensorFlow says about many trainings in a process: each traces functions of its own, once."""
    return "triggered tf.function retracing" not in record.getMessage()


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
