"""A network, data, task and figure of the user's own, on every executor: the same trials, figure for figure."""

import importlib.util

import pytest

from gnexp.analysis.sweep import read_trials

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]

_OWN = """
import keras
import numpy as np
from gnexp.models.outputs import Outputs
from gnexp.tasks.task import Task

def network(inputs, outputs, norm, width=8):
    x = keras.layers.ReLU()(norm()(keras.layers.Dense(width)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(outputs)(x))

def data():
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    x, y = (20 * x).astype("float32"), ((y - 152) / 77).astype("float32")
    return {"train": (x[:340], y[:340]), "test": (x[340:], y[340:])}

class Median(Task):
    outputs = Outputs(1, logits=False)
    figures = {"near": "max"}

    def loss(self, targets, outputs):
        return keras.ops.abs(targets - outputs[:, 0])

    def numbers(self, targets, outputs):
        return {"near": keras.ops.abs(targets - outputs[:, 0]) < 0.5}

def worst(targets, predictions):
    return np.max(np.abs(targets - predictions[:, 0]))
"""
_CONFIG = """
from gnexp.config import base
from gnexp.space import choice

def get_config():
    config = base.get_config()
    config.data.name, config.data.fallback, config.data.batch_size = "own_code:data", "", 32
    config.task.name, config.task.figures = "own_code:Median", ("own_code:worst",)
    config.objective, config.direction = "val_near", "max"
    config.model.name, config.model.groups, config.epochs = "own_code:network", 2, 2
    config.sweep = base.get_sweep()
    config.sweep.tuner, config.sweep.executions = "grid", 2
    config.sweep.space.model.norm = choice("group", "none")
    config.sweep.space.model.args.width = choice(8, 16, role="nuisance")
    return config
"""


def test_it_reaches_every_executor(gnexp_train, tmp_path):
    (tmp_path / "own_code.py").write_text(_OWN)
    (tmp_path / "mine.py").write_text(_CONFIG)
    refused = gnexp_train("--config.model.groups=64", "--workdir=refused", config="mine.py", cwd=tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)  # although own_code imports a backend
    found = {}
    for executor in ("serial", "processes", *(["ray"] if importlib.util.find_spec("ray") else [])):
        flags = f"--config.sweep.executor={executor}", f"--config.sweep.parallel={1 if executor == 'serial' else 2}"
        done = gnexp_train(*flags, f"--workdir={executor}", config="mine.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[executor] = [
            (trial.values, trial.status, trial.scores, [each.test for each in trial.results])
            for trial in read_trials(tmp_path / executor)
        ]
    assert len(found["serial"]) == 4
    assert all({"near", "worst", "loss"} == set(test) for *_, tests in found["serial"] for test in tests)
    assert all(trials == found["serial"] for trials in found.values())
    (tmp_path / "elsewhere").mkdir()
    done = gnexp_train("--dry_run", config="../serial/best.py", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
