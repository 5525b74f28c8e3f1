"""Trials per hour at batch size 1: a sweep of gnexp, and two trials side by side, against plain keras-tuner.

Run:      python -m benchmarks.sweep
Time:     15 minutes on 2 CPU cores.

A random search over groups, epsilon and learning rate, which each draws for itself: none of them changes what a step of
configs/fmnist.py's network costs. One epoch per trial, Adam. Plain keras-tuner has keras.layers.GroupNormalization,
keras.optimizers.Adam and no TensorBoard callback; gnexp logs as it always does, and evaluates each trial on the 10,000
test images. The time runs from the end of the second trial to that of the last, without the start and the imports.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

from absl import app, flags

from benchmarks import measure

_OUT = flags.DEFINE_string("out", "build/benchmarks/sweep.json", "Where the figures go.")
_ROUNDS = flags.DEFINE_integer("rounds", 2, "How many turns each contestant has.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 4000, "Training steps of each trial.", lower_bound=1)

_TRIALS = 4
_FROM = 2  # trials that have ended when the clock starts
_KERAS_TUNER = "keras-tuner"

_CONFIG = """
from ml_collections import ConfigDict
from configs import fmnist_sweep
from gnexp.space import choice, floats

def get_config():
    config = fmnist_sweep.get_config()
    config.epochs, config.optimizer.name = 1, "adam"
    config.data.batch_size, config.data.train_size, config.data.validation = 1, {steps}, 200
    config.sweep.max_trials, config.sweep.seed = {trials}, 0
    config.sweep.space = ConfigDict({{"model": {{}}, "optimizer": {{}}}})
    config.sweep.space.model.groups = choice(1, 2, 4, 8, 16, 32)
    config.sweep.space.model.epsilon = floats(1e-7, 1e-2, sampling="log")
    config.sweep.space.optimizer.learning_rate = floats(1e-4, 1e-3, sampling="log")
    return config
"""
_PLAIN = """
import sys
import keras, keras_tuner
from keras import layers
sys.path.insert(0, sys.argv[2])
import experiment
from gnexp.config.stored import record
from gnexp.data.load import available, load

asked = experiment.get_config()
name, _ = available(asked.data)
asked = record(asked, name)
splits = load(asked.data)

def build(hp):
    model, groups = asked.model, hp.Choice("groups", [1, 2, 4, 8, 16, 32])
    epsilon = hp.Float("epsilon", 1e-7, 1e-2, sampling="log")
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(1 / 255)])
    for width in model.args.filters:
        net.add(layers.Conv2D(width, 3, kernel_regularizer=keras.regularizers.L2(model.args.l2)))
        net.add(layers.GroupNormalization(groups, epsilon=epsilon))
        net.add(layers.ReLU())
    net.add(layers.MaxPooling2D())
    net.add(layers.Dropout(model.args.conv_dropout))
    net.add(layers.Flatten())
    net.add(layers.Dense(model.args.units, "relu"))
    net.add(layers.Dropout(model.args.dense_dropout))
    net.add(layers.Dense(10))
    rate = hp.Float("learning_rate", 1e-4, 1e-3, sampling="log")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return net

def pair(split):
    return split.inputs, split.targets

tuner = keras_tuner.RandomSearch(
    build, "val_accuracy", max_trials=int(sys.argv[3]), seed=1, directory=sys.argv[1], project_name="search"
)
fit = dict(validation_data=pair(splits.validation), epochs=1, batch_size=1, validation_batch_size=200, verbose=0)
tuner.search(*pair(splits.train), **fit)
"""


def _seconds_per_trial(files: list[pathlib.Path]) -> float:
    ended = sorted(path.stat().st_mtime for path in files)
    if len(ended) != _TRIALS:
        raise RuntimeError(f"{len(ended)} trials have ended, not {_TRIALS}")
    return (ended[-1] - ended[_FROM - 1]) / (_TRIALS - _FROM)


def _turn(arguments: Callable[[str], list[str]], ended: str) -> Callable[[], float]:
    def turn() -> float:
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "experiment.py").write_text(_CONFIG.format(trials=_TRIALS, steps=_STEPS.value))
            done = subprocess.run([sys.executable, *arguments(folder)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            return _seconds_per_trial(list(pathlib.Path(folder).glob(ended)))

    return turn


def _gnexp(executor: str, parallel: int) -> Callable[[], float]:
    def arguments(folder: str) -> list[str]:
        flags = [f"--config={folder}/experiment.py", f"--workdir={folder}/work"]
        where = [f"--config.sweep.executor={executor}", f"--config.sweep.parallel={parallel}"]
        return ["-m", "gnexp.train", *flags, *where]

    return _turn(arguments, "work/trials/*/*/result.json")


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    contestants = {
        _KERAS_TUNER: _turn(
            lambda folder: ["-c", _PLAIN, f"{folder}/tuner", folder, str(_TRIALS)], "tuner/search/trial_*/trial.json"
        ),
        "gnexp": _gnexp("serial", 1),
        "gnexp, two processes": _gnexp("processes", 2),
        "gnexp, two on Ray": _gnexp("ray", 2),
    }
    figures = measure.compare(measure.take_turns(contestants, _ROUNDS.value), _KERAS_TUNER)
    print(f"Trials at batch size 1: {_STEPS.value:,} steps each, validation on 200 images")
    rows = [[name, f"{3600 / each['median']:.0f}", measure.in_words(each, unit=1.0)] for name, each in figures.items()]
    measure.show(rows, ["", "trials per hour", "keras-tuner's time / its time (seconds per trial)"])
    measure.write(_OUT.value, {"steps": _STEPS.value, **figures})


if __name__ == "__main__":
    app.run(main)
