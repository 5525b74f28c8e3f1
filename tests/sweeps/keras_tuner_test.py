"""What plain keras-tuner with Keras's TensorBoard callback does, as the README says: the other side of its table."""

import json

import keras
import keras_tuner
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="its hook is for TensorFlow alone"),
]

_OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")
_IMAGES, _LABELS = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 2


class _Network(keras_tuner.HyperModel):
    """Searches units in `build` and the batch size in `fit`, as keras-tuner's own guide does; 3 units fail."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, hp):
        units = hp.Choice("units", self.units)
        model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(2, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, *args, callbacks, **kwargs):
        if hp.get("units") == 3:
            callbacks = [*callbacks, _Fails()]
        return model.fit(*args, batch_size=hp.Choice("batch_size", [4, 8]), callbacks=callbacks, **kwargs)


class _Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise keras_tuner.errors.FailedTrialError("three")


def _search(directory, units, name="sweep", trials=3):
    tuner = keras_tuner.GridSearch(
        _Network(units),
        objective=_OBJECTIVE,
        max_trials=trials,
        directory=directory,
        project_name=name,
        seed=1,
    )
    data = {"x": _IMAGES, "y": _LABELS, "validation_data": (_IMAGES, _LABELS)}
    logs = keras.callbacks.TensorBoard(str(directory / "logs" / name), write_graph=False)
    tuner.search(**data, epochs=1, verbose=0, callbacks=[logs])
    return tuner


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two searches under one logdir; the second has a trial that fails."""
    directory = tmp_path_factory.mktemp("plain")
    _search(directory, [1, 2])
    _search(directory, [3, 2], "other")
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory / "logs")).Reload()
    sessions = {}
    for run, tags in multiplexer.Runs().items():
        for tag in (metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG, metadata.EXPERIMENT_TAG):
            if tag in tags["tensors"]:
                sessions.setdefault(run, {})[tag] = multiplexer.SummaryMetadata(run, tag).plugin_data.content
    return directory, sessions


def test_there_is_no_experiment_record(plain):
    _, sessions = plain
    assert sessions and not any(metadata.EXPERIMENT_TAG in found for found in sessions.values())


def test_what_is_declared_in_fit_is_missing_from_the_first_trial(plain):
    _, sessions = plain
    starts = {
        run: metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
        for run, found in sessions.items()
        if metadata.SESSION_START_INFO_TAG in found
    }
    first = [set(start.hparams) for run, start in starts.items() if run.startswith("sweep/0")]
    assert {"units"} in first


def test_trials_of_two_searches_share_a_group(plain):
    _, sessions = plain
    groups = {}
    for run, found in sessions.items():
        if metadata.SESSION_START_INFO_TAG in found:
            start = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
            groups.setdefault(start.group_name, set()).add(run.partition("/")[0])
    assert any(len(searches) == 2 for searches in groups.values())


def test_a_failed_trial_has_no_status(plain):
    directory, sessions = plain
    failed = [
        path.parent.name.removeprefix("trial_")
        for path in (directory / "other").glob("trial_*/trial.json")
        if json.loads(path.read_text())["status"] == "FAILED"
    ]
    assert failed
    ended = {run for run, found in sessions.items() if metadata.SESSION_END_INFO_TAG in found}
    assert not any(run.startswith(f"other/{trial}/") for run in ended for trial in failed)


def test_a_checkpoint_of_every_trial_stays(plain):
    directory, _ = plain
    assert len(list((directory / "sweep").glob("trial_*/checkpoint.weights.h5"))) == 3


def test_another_search_space_is_taken_up_silently(plain):
    directory, _ = plain
    tuner = _search(directory, [5, 6], trials=3)
    assert len(tuner.oracle.trials) == 3
    assert {trial.hyperparameters.values["units"] for trial in tuner.oracle.trials.values()} <= {1, 2}
