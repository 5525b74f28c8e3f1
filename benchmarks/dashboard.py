"""TensorBoard's HParams dashboard for one and the same sweep, as gnexp writes it and as plain keras-tuner writes it.

Run:      python -m benchmarks.dashboard
Time:     4 minutes on 2 CPU cores.

Nothing is trained: the values are drawn from the space of configs/fmnist_sweep.py, the curves are made up, and both
sweeps hold the same of them. What stands in the files is written by gnexp's own functions on one side, by the callbacks
of keras-tuner and Keras on the other.
"""

import contextlib
import datetime
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import types
import urllib.request
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict
from tabulate import tabulate

from configs import fmnist_sweep
from gnexp import config as configs
from gnexp import hparams, outcomes, space, workdir
from gnexp.experiment import Experiment
from gnexp.space import Space
from gnexp.summaries import EventFiles

flags.DEFINE_integer("sessions", 3000, "How many trainings the sweep has.", lower_bound=1, upper_bound=9999)
flags.DEFINE_integer("epochs", 10, "How many points each curve has.", lower_bound=1)
flags.DEFINE_string("out", "build/benchmarks/dashboard.json", "Where the figures go.")

_SEED = 0
_ROUNDS = 3  # each one a new server for either sweep, in turn
_REQUESTS = 5  # of each kind in a round
_PATIENCE = 900  # seconds
_STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
# What a user would sort by. Plain keras-tuner leaves no curve of the best epoch so far, only the last epoch's figure.
_METRICS = {
    "gnexp": {"group": "", "tag": "best_val_accuracy"},
    "keras-tuner": {"group": "validation", "tag": "epoch_accuracy"},
}
_COLUMNS = {
    "up": "server\nup (s)",
    "loaded": "all sessions\nloaded (s)",
    "experiment": "experiment\n(s)",
    "groups": "100 groups\n(s)",
    "sorted": "100, sorted by\nmetric (s)",
    "answer": "answer\n(bytes)",
    "files": "event\nfiles",
    "bytes": "event files\n(bytes)",
}

Trial = tuple[str, dict[str, Any], list[dict[str, float]]]  # name, values, and for each epoch its figures


def _trials(searched: Space, sessions: int, epochs: int) -> list[Trial]:
    rng = np.random.default_rng(_SEED)
    # Both pad the names of so many trials to the same width.
    width = len(str(sessions))
    return [(f"{number:0{width}d}", _draw(searched, rng), _curve(rng, epochs)) for number in range(sessions)]


def _draw(searched: Space, rng: np.random.Generator) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in searched.entries:
        if entry.holds(values):
            if entry.values:
                values[entry.path] = entry.values[rng.integers(len(entry.values))]
            else:  # every range of that space is logarithmic
                values[entry.path] = math.exp(rng.uniform(math.log(entry.low), math.log(entry.high)))
    return values


def _curve(rng: np.random.Generator, epochs: int) -> list[dict[str, float]]:
    accuracy = np.sort(rng.uniform(0.1, 0.95, (epochs, 2)), axis=0)
    return [
        {"accuracy": float(train), "loss": -math.log(train), "val_accuracy": float(val), "val_loss": -math.log(val)}
        for train, val in accuracy
    ]


def _write_gnexp(directory: pathlib.Path, config: ConfigDict, trials: list[Trial]) -> None:
    """Writes what gnexp.sweep leaves behind, apart from results, provenance and the best network."""
    from keras_tuner.engine.trial import Trial as Record  # Costs seconds: TensorFlow.

    searched = space.parse(config)
    hyperparameters = searched.hyperparameters()
    with workdir.opened(directory, config):
        experiment = Experiment(directory, config, searched)
        for name, values, curve in trials:
            of_trial = searched.config(config, values)
            shown = hparams.session_start(experiment.hparams(of_trial, values), experiment.group(name))
            folder = outcomes.execution(outcomes.folder(directory, name), of_trial.seed)
            with workdir.opened(folder, of_trial):
                _write_session(folder, of_trial, shown, values["optimizer.learning_rate"], curve)
            # TensorBoard walks over the oracle's folders as well.
            hyperparameters.values = values
            record = directory / outcomes.ORACLE / f"trial_{name}" / "trial.json"
            record.parent.mkdir(parents=True)
            Record(hyperparameters, trial_id=name).save(str(record))
        experiment.note([max(figures["val_accuracy"] for figures in curve) for _, _, curve in trials])


def _write_session(folder: pathlib.Path, config: ConfigDict, start, learning_rate: float, curve) -> None:
    from gnexp import dashboard
    from gnexp.training import Epoch, Evaluation, Training

    history = [
        Epoch(epoch=number, learning_rate=learning_rate, seconds=1.0, **figures)
        for number, figures in enumerate(curve, start=1)
    ]
    training = types.SimpleNamespace(config=config, history=history)
    training.best = functools.partial(Training.best, training)
    best = training.best(len(history))
    training.best_epoch = best.epoch
    # As gnexp.trial has it, but into the files at once: they come out the same.
    events = EventFiles(folder)
    dashboard.start(events, training, start)
    for epoch in history:
        dashboard.curves(events, training, epoch)
    test = Evaluation(best.val_loss, best.val_accuracy, np.empty(0))
    dashboard.end(events, training, test, {"executions": 1.0})
    events.write()


def _write_keras_tuner(directory: pathlib.Path, config: ConfigDict, trials: list[Trial]) -> None:
    """Writes what keras_tuner.RandomSearch(...).search(..., callbacks=[keras.callbacks.TensorBoard(directory)]) does.

    Compared with such a search, 1 trial of 2 epochs: the same files in the same folders, the same tags in the same
    order, with as many bytes. The callback's default write_graph puts the network's JSON into each `train` run, but no
    graph of the training function, which Keras 3 has no longer got in the place where the callback looks for it.
    """
    import keras
    import keras_tuner
    from keras_tuner.engine.trial import Trial as Record

    from gnexp import models
    from gnexp.data import SHAPE

    model = models.build(config.model, SHAPE, 10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    hyperparameters = _flat(space.parse(config))
    # Its own files lie elsewhere, unless the user has it otherwise, and nobody shows them to TensorBoard.
    with tempfile.TemporaryDirectory() as project:
        tuner = keras_tuner.RandomSearch(lambda _: model, "val_accuracy", len(trials), directory=project)
        for name, values, curve in trials:
            hyperparameters.values = values
            callbacks = [keras.callbacks.TensorBoard(str(directory))]
            tuner._configure_tensorboard_dir(callbacks, Record(hyperparameters, trial_id=name))
            model.optimizer.learning_rate.assign(values["optimizer.learning_rate"])
            _fit(keras.callbacks.CallbackList(callbacks, model=model), model, curve)


def _flat(searched: Space):
    """Returns the space with one range for each name, the only form in which keras-tuner can log it.

    A name with a range for each optimizer stops its search: "multiple values specified for hparam".
    """
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    for path in searched.paths:
        entries = [entry for entry in searched.entries if entry.path == path]
        if entries[0].values:
            hyperparameters.Choice(path, list(entries[0].values))
        else:
            low, high = min(entry.low for entry in entries), max(entry.high for entry in entries)
            hyperparameters.Float(path, low, high, sampling="log")
    return hyperparameters


def _fit(callbacks, model, curve) -> None:
    """Calls the callbacks as model.fit does."""
    callbacks.on_train_begin()
    for epoch, figures in enumerate(curve):
        callbacks.on_epoch_begin(epoch)
        model.optimizer.iterations.assign((epoch + 1) * 100)
        callbacks.on_test_begin()
        callbacks.on_test_end({"accuracy": figures["val_accuracy"], "loss": figures["val_loss"]})
        callbacks.on_epoch_end(epoch, dict(figures))
    callbacks.on_train_end({})


@contextlib.contextmanager
def _server(logdir: pathlib.Path) -> Iterator[str]:
    """Gives the address of a TensorBoard on `logdir` once it has one."""
    where = ["--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0", "--reload_interval", "1"]
    with tempfile.NamedTemporaryFile("r") as said:
        process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *where], stdout=said, stderr=said)
        try:
            while not (address := re.search(r"http://[\d.:]+/", pathlib.Path(said.name).read_text())):
                if process.poll() is not None:
                    raise RuntimeError(f"TensorBoard does not start: {pathlib.Path(said.name).read_text()}")
                time.sleep(0.01)
            yield address[0]
        finally:
            process.terminate()
            process.wait()


def _ask(address: str, what: str, **body: Any) -> tuple[float, bytes]:
    """Returns how long the HParams plugin takes to answer, in seconds, and the answer."""
    request = urllib.request.Request(
        f"{address}data/plugin/hparams/{what}",
        json.dumps({"experimentName": "", **body}).encode(),
        {"Content-Type": "application/json"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
        answer = response.read()
    return time.perf_counter() - began, answer


def _groups(address: str, count: int, *columns: dict[str, Any]) -> tuple[float, bytes]:
    return _ask(address, "session_groups", allowedStatuses=_STATUSES, colParams=columns, startIndex=0, sliceSize=count)


def _loaded(address: str, sessions: int, metric: dict[str, str]) -> bool:
    """Tells whether every session is there with its metric: one without it would come first."""
    answer = json.loads(_groups(address, 1, {"metric": metric, "order": "ORDER_ASC", "missingValuesFirst": True})[1])
    if answer["totalSize"] != sessions:
        return False
    names = [value["name"] for value in answer["sessionGroups"][0].get("metricValues", [])]
    return any(name["tag"] == metric["tag"] and name.get("group", "") == metric["group"] for name in names)


def _round(logdir: pathlib.Path, sessions: int, metric: dict[str, str]) -> dict[str, list[float]]:
    """Starts a server and returns what was measured of it; times are in seconds."""
    began = time.perf_counter()
    with _server(logdir) as address:
        up = time.perf_counter() - began
        while not _loaded(address, sessions, metric):
            if time.perf_counter() - began > _PATIENCE:
                raise RuntimeError(f"TensorBoard does not find the {sessions} sessions")
            time.sleep(0.05)
        loaded = time.perf_counter() - began
        time.sleep(2)  # By then it has looked for more.
        if not _loaded(address, sessions, metric):
            raise RuntimeError(f"the {sessions} sessions do not stay")
        by_metric = {"metric": metric, "order": "ORDER_DESC"}
        found: dict[str, list[float]] = {"up": [up], "loaded": [loaded], "experiment": [], "groups": [], "sorted": []}
        for _ in range(_REQUESTS):
            found["experiment"].append(_ask(address, "experiment", hparamsLimit=1000)[0])
            seconds, answer = _groups(address, 100)
            found["groups"].append(seconds)
            found["sorted"].append(_groups(address, 100, by_metric)[0])
        return {**found, "answer": [len(answer)]}


def _measure(logdirs: dict[str, pathlib.Path], sessions: int) -> dict[str, dict[str, float]]:
    """Returns the medians by sweep."""
    rounds: dict[str, list[dict]] = {name: [] for name in logdirs}
    for _ in range(_ROUNDS):
        for name, logdir in logdirs.items():
            rounds[name].append(_round(logdir, sessions, _METRICS[name]))
    figures = {}
    for name, logdir in logdirs.items():
        sizes = [path.stat().st_size for path in logdir.rglob("*tfevents*")]
        medians = {key: statistics.median(sum((each[key] for each in rounds[name]), [])) for key in rounds[name][0]}
        figures[name] = {**medians, "files": len(sizes), "bytes": sum(sizes)}
    return figures


def _report(figures: dict[str, dict[str, float]], out: pathlib.Path) -> None:
    ours, theirs = figures["gnexp"], figures["keras-tuner"]
    ratios = {key: theirs[key] / ours[key] for key in _COLUMNS}
    rows = [
        [name, *(f"{each[key]:.5g}" if isinstance(each[key], float) else each[key] for key in _COLUMNS)]
        for name, each in figures.items()
    ]
    rows.append(["ratio", *(f"{ratios[key]:.2f}" for key in _COLUMNS)])
    print(
        tabulate(rows, ["", *_COLUMNS.values()], disable_numparse=True, colalign=["left"] + ["right"] * len(_COLUMNS))
    )
    packages = ("tensorboard", "keras", "keras-tuner")
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": workdir.provenance()["processor"],
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "sessions": flags.FLAGS.sessions,
        "epochs": flags.FLAGS.epochs,
        **figures,
        "ratios": ratios,
    }
    workdir.write_json(out, record)


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    # keras-tuner logs on this backend alone, and nothing here is work for a GPU.
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    sessions, asked = flags.FLAGS.sessions, fmnist_sweep.get_config()
    asked.epochs, asked.sweep.max_trials = flags.FLAGS.epochs, sessions
    config = configs.record(asked, asked.data.name)
    trials = _trials(space.parse(config), sessions, config.epochs)
    with tempfile.TemporaryDirectory() as folder:
        logdirs = {name: pathlib.Path(folder) / name for name in _METRICS}
        with mock.patch("os.fsync"):  # Nothing here has to outlast a power cut.
            _write_gnexp(logdirs["gnexp"], config, trials)
        _write_keras_tuner(logdirs["keras-tuner"], config, trials)
        _report(_measure(logdirs, sessions), pathlib.Path(flags.FLAGS.out))


if __name__ == "__main__":
    app.run(main)
