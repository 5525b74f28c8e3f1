"""What a backend is set up with: its devices, and the threads that suit the batches."""

import json
import subprocess
import sys

import keras
import pytest

from gnexp.errors import UserError
from gnexp.training import backend

# TensorFlow takes a number of threads only before its first operation.
_THREADS = """
import json, os
import tensorflow as tf
from configs import smoke
from gnexp.config import base
from gnexp.space import choice
from gnexp.training import backend

found = []
for batch, searched, side, variable in {cases}:
    config = smoke.get_config()
    config.data.batch_size = batch
    if searched:
        config.sweep = base.get_sweep()
        config.sweep.space.data.batch_size = choice(*searched)
    os.environ.pop("TF_NUM_INTRAOP_THREADS", None)
    if variable:
        os.environ["TF_NUM_INTRAOP_THREADS"] = variable
    backend.choose_threads(config, (side, side, 1))
    found.append(tf.config.threading.get_intra_op_parallelism_threads())
print(json.dumps(found))
"""


def test_devices_are_named():
    assert all(isinstance(name, str) and name for name in backend.devices())
    assert backend.devices()


def test_another_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UserError, match=r"torch.*tensorflow or jax"):
        backend.prepare(deterministic=False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX divides no operations")
def test_small_batches_have_one_thread_unless_the_sweep_has_larger_ones_or_the_user_says_otherwise():
    cases = {
        (1, (), 28, ""): 1,
        (64, (), 28, ""): 0,  # as TensorFlow has it: the number of processors
        (1, (), 224, ""): 0,
        (1, (1, 128), 28, ""): 0,
        (8, (1, 2), 28, ""): 1,
        (128, (1, 2), 28, ""): 0,  # The config's own values have a trial.
        (1, (), 28, "2"): 0,
    }
    code = _THREADS.format(cases=list(cases))
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == list(cases.values())
