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
from keras.src.utils import module_utils, naming
from ml_collections import ConfigDict

from gnexp.config.schema import BACKENDS
from gnexp.errors import UserError
from gnexp.space.parse import parse_space

_THREADS, _BATCH = "TF_NUM_INTRAOP_THREADS", "data.batch_size"
_FEW = 1 << 13  # numbers in a batch


def choose_threads(config: ConfigDict, shape: tuple[int, ...]) -> None:
    """Gives TensorFlow one thread for an operation where all batches of a process are a few small images.

    On a CPU it otherwise divides each operation among threads, which then takes longer than it saves. It takes another
    number only before its first operation; the variable TF_NUM_INTRAOP_THREADS overrules this.

    Args:
      config: of a training, or of the sweep whose trials will run in this process.
      shape: of an input.
    """
    if keras.backend.backend() != "tensorflow" or _THREADS in os.environ:
        return
    import tensorflow as tf

    sizes = [config.data.batch_size]
    if "sweep" in config:
        sizes += [size for entry in parse_space(config).of(_BATCH) for size in entry.checked()]
    few = len(shape) == 3 and max(sizes) * math.prod(shape) <= _FEW
    if not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun.
            tf.config.threading.set_intra_op_parallelism_threads(1 if few else 0)


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
        from tensorflow.python.framework import config

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.get_logger().addFilter(_no_advice_on_tracing)  # adds it only once
        if deterministic:
            config.enable_op_determinism()
        else:  # An earlier training of the process may have been.
            config.disable_op_determinism()


def _no_advice_on_tracing(record: logging.LogRecord) -> bool:
    """Leaves out what TensorFlow says about many trainings in a process: many trace functions of their own."""
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


def reset_names() -> None:
    """Lets Keras number the names of layers from the beginning again."""
    naming.reset_uids()


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
