"""The same sweep in TensorBoard's files, as gnexp leaves it and as plain keras-tuner leaves it.

Nothing is trained: the curves are made up. gnexp's own functions write one side, and the callbacks of keras-tuner and
Keras the other.
"""

import functools
import math
import pathlib
import tempfile
import types
from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest import mock

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import trial as keras_tuner_trial
from ml_collections import ConfigDict

from gnexp.config import objective
from gnexp.config.paths import flatten
from gnexp.data.splits import SHAPE
from gnexp.events import hparams
from gnexp.events.event_files import EventFiles
from gnexp.models.build import build
from gnexp.space.parse import parse_space
from gnexp.space.space import Space
from gnexp.sweeps.dashboard import SweepDashboard
from gnexp.sweeps.oracles import hyperparameters
from gnexp.tasks.task import Evaluation
from gnexp.training import dashboard
from gnexp.training.loop import Training
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from gnexp.workdir.provenance import provenance
from gnexp.workdir.result import Result

_SEED = 0


class Trial(NamedTuple):
    """A trial of one execution: its values by dotted path, and for each epoch the figures as Keras names them."""

    number: int
    values: dict[str, Any]
    curve: list[dict[str, float]]


def draw(config: ConfigDict) -> list[Trial]:
    """Returns the trials of a sweep's config, the same ones at every call."""
    searched, rng = parse_space(config), np.random.default_rng(_SEED)
    return [
        Trial(number, _values(searched, rng), _curve(rng, config.epochs)) for number in range(config.sweep.max_trials)
    ]


def _values(searched: Space, rng: np.random.Generator) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in searched.entries:
        if not entry.holds(values):
            continue
        if entry.values:
            values[entry.path] = entry.values[rng.integers(len(entry.values))]
        else:
            assert entry.sampling == "log"
            values[entry.path] = math.exp(rng.uniform(math.log(entry.low), math.log(entry.high)))
    return values


def _curve(rng: np.random.Generator, epochs: int) -> list[dict[str, float]]:
    accuracies = np.sort(rng.uniform(0.1, 0.95, (epochs, 2)), axis=0).tolist()
    return [
        {"accuracy": train, "loss": -math.log(train), "val_accuracy": validation, "val_loss": -math.log(validation)}
        for train, validation in accuracies
    ]


def write_gnexp(
    directory: pathlib.Path, config: ConfigDict, trials: Sequence[Trial], seeds: int = 1, events: bool = True
) -> None:
    """Writes what a sweep of gnexp leaves in its workdir, except for checkpoints; further trials extend it.

    Args:
      directory: the sweep's workdir.
      config: the sweep's, as `gnexp.config.stored.record` gives it.
      trials: of that config.
      seeds: how many executions each trial has; `config.sweep.executions` says the same.
      events: whether there are event files.
    """
    searched = parse_space(config)
    found = hyperparameters.of(searched)
    asked = objective.of(flatten(config))
    with mock.patch("os.fsync"), opened(directory, config):  # Nothing here has to survive a power cut.
        experiment = SweepDashboard(directory, config, searched)
        for trial in trials:
            name, of_trial = f"{trial.number:04d}", searched.config(config, trial.values)
            start = hparams.session_start(experiment.hparams(of_trial, trial.values), experiment.group(name))
            bests = []
            for seed in range(of_trial.seed, of_trial.seed + seeds):
                folder = files.execution_folder(files.trial_folder(directory, name), seed)
                training = _trained(of_trial, _of_seed(trial, seed))
                with opened(folder, of_trial):
                    _write_session(folder, training, start if events else None)
                bests.append(training.best(training.best_epoch)["val_accuracy"])
            # TensorBoard walks through the oracle's folders as well.
            found.values = trial.values
            record = keras_tuner_trial.Trial(found, trial_id=name, status="COMPLETED")
            record.metrics.register(asked.name, asked.direction)
            for best in bests:
                record.metrics.update(asked.name, best, 0)
            record.score, record.best_step = float(np.mean(bests)), 0
            files.write_json(directory / files.ORACLE / f"trial_{name}" / "trial.json", record.get_state())
        if events:
            experiment.note([max(figures["val_accuracy"] for figures in trial.curve) for trial in trials])


def _of_seed(trial: Trial, seed: int) -> list[dict[str, float]]:
    """Returns the curve of one execution: the trial's own, the higher or lower by its seed."""
    rng = np.random.default_rng((trial.number, seed))
    factor = float(np.exp(-abs(rng.normal(0, 0.01))))
    return [{name: value * factor for name, value in figures.items()} for figures in trial.curve]


def _trained(config: ConfigDict, curve: list[dict[str, float]]) -> types.SimpleNamespace:
    """Returns a stand-in for a `Training` that has ended."""
    rate = config.optimizer.learning_rate
    history = [
        {"epoch": number, **figures, "learning_rate": rate, "seconds": 1.0} for number, figures in enumerate(curve, 1)
    ]
    training = types.SimpleNamespace(config=config, history=history, objective=objective.of(flatten(config)))
    training.best = functools.partial(Training.best, training)
    training.best_epoch = training.best(len(history))["epoch"]
    return training


def _write_session(folder: pathlib.Path, training: types.SimpleNamespace, start) -> None:
    """Writes an execution that has ended; without event files if `start` is None."""
    best = training.best(len(training.history))
    files.write_json(folder / files.PROVENANCE, [_provenance()])
    if start:
        _write_events(folder, training, best, start)
    test, seconds = {"accuracy": best["val_accuracy"] - 0.01, "loss": best["val_loss"]}, float(len(training.history))
    about = training.config.data.name, training.config.data.validation, training.objective.name
    best_value = best[training.objective.name]
    done = Result(result.SUCCESS, *about, best_value, training.best_epoch, test, seconds, training.history)
    result.write(folder, done)


_provenance = functools.cache(provenance)


def _write_events(folder: pathlib.Path, training: types.SimpleNamespace, best: dict[str, float], start) -> None:
    # The same calls as in gnexp.training.run, which also writes after every epoch; the files come out the same.
    events = EventFiles(folder)
    dashboard.start(events, training, start)
    for epoch in training.history:
        dashboard.curves(events, training, epoch)
    dashboard.end(
        events,
        training,
        Evaluation(best["val_loss"], {"accuracy": best["val_accuracy"]}, np.empty(0)),
        {"executions": 1.0},
    )
    events.write()


def write_keras_tuner(directory: pathlib.Path, config: ConfigDict, trials: Sequence[Trial]) -> None:
    """Writes what `keras_tuner.RandomSearch(...).search(..., callbacks=[keras.callbacks.TensorBoard(directory)])` does.

    A comparison with such a search of one trial found the same files, and in each the same tags in the same order with
    the same number of bytes, apart from the digits of numbers and of default names. By default the callback writes the
    network as JSON into each run `train`, but not the graph of the training function, which Keras 3.15 no longer has
    where the callback looks for it (`_write_keras_model_train_graph`).

    Args:
      directory: the callback's `log_dir`. keras-tuner's own files are elsewhere, as they are by default.
      config: the sweep's.
      trials: of that config.
    """
    model = build(config.model, SHAPE, 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss, metrics=["accuracy"])
    found = flat(parse_space(config))
    width = len(str(len(trials)))
    with tempfile.TemporaryDirectory() as project:
        tuner = keras_tuner.RandomSearch(lambda _: model, "val_accuracy", len(trials), directory=project)
        for number, values, curve in trials:
            found.values = values
            trial = keras_tuner_trial.Trial(found, trial_id=f"{number:0{width}d}")
            callbacks = [keras.callbacks.TensorBoard(str(directory))]
            tuner._configure_tensorboard_dir(callbacks, trial)
            model.optimizer.learning_rate.assign(values["optimizer.learning_rate"])
            _fit(keras.callbacks.CallbackList(callbacks, model=model), model, curve)


def flat(searched: Space) -> keras_tuner.HyperParameters:
    """Returns a space in the only form that keras-tuner can log, with one domain for each name.

    If a learning rate has a range for each optimizer, its search ends with "multiple values specified for hparam".
    """
    found = keras_tuner.HyperParameters()
    for path in searched.paths:
        entries = [entry for entry in searched.entries if entry.path == path]
        if entries[0].values:
            found.Choice(path, list(entries[0].values))
        else:
            low, high = min(entry.low for entry in entries), max(entry.high for entry in entries)
            found.Float(path, low, high, sampling="log")
    return found


def _fit(callbacks: keras.callbacks.CallbackList, model: keras.Model, curve: list[dict[str, float]]) -> None:
    """Calls back as `model.fit` does."""
    callbacks.on_train_begin()
    for epoch, figures in enumerate(curve):
        callbacks.on_epoch_begin(epoch)
        model.optimizer.iterations.assign((epoch + 1) * 100)
        callbacks.on_test_begin()
        callbacks.on_test_end({"accuracy": figures["val_accuracy"], "loss": figures["val_loss"]})
        callbacks.on_epoch_end(epoch, dict(figures))
    callbacks.on_train_end({})
