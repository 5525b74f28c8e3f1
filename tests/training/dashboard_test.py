"""A real TensorBoard on loopback must show trainings, their hyperparameters, figures and statuses."""

import os
import signal
import time

import pytest

from configs import smoke
from gnexp.data.load import load
from gnexp.errors import InterruptedTrainingError
from gnexp.training.console import TerminalConsole
from gnexp.training.run import train
from gnexp.workdir.folder import opened
from tests.support.boards import TensorBoard

pytestmark = pytest.mark.any_backend


def _run(config, directory):
    with opened(directory, config) as config:
        return train(config, load(config.data), directory)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three trainings under one folder, the last stopped by a signal, and a TensorBoard that has read them all."""
    runs = tmp_path_factory.mktemp("runs")
    results = {}
    for groups in (2, 4):
        config = smoke.get_config()
        config.epochs, config.model.groups = 1, groups
        config.data.train_size = 96  # batches of one size
        results[f"groups-{groups}"] = _run(config, runs / f"groups-{groups}")
    config.model.groups = 1
    stop = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patched:
        # The signal comes at the first step: the handler is in place by then, and only then.
        patched.setattr(TerminalConsole, "steps", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(InterruptedTrainingError):
            _run(config, runs / "stopped")
    assert signal.getsignal(signal.SIGTERM) == stop
    tensorboard = TensorBoard(runs)
    for _ in range(100):
        if len(tensorboard.groups()) == 3 and len(tensorboard.get("plugin/images/tags")) == 2:
            return tensorboard, results
        time.sleep(0.2)
    pytest.fail(f"TensorBoard read only {tensorboard.get('runs')}")


def test_each_training_is_a_session_with_its_end(trained):
    tensorboard, _ = trained
    groups = tensorboard.groups()
    statuses = {name: [session["status"] for session in group["sessions"]] for name, group in groups.items()}
    assert statuses == {
        "groups-2": ["STATUS_SUCCESS"],
        "groups-4": ["STATUS_SUCCESS"],
        "stopped": ["STATUS_FAILURE"],
    }


def test_hyperparameters_have_types_and_what_differs_comes_first(trained):
    tensorboard, _ = trained
    infos = {info["name"]: info for info in tensorboard.hparams("experiment", hparamsLimit=1000)["hparamInfos"]}
    assert {name for name, info in infos.items() if info["differs"]} == {"model.groups"}
    assert infos["model.groups"]["type"] == infos["model.epsilon"]["type"] == "DATA_TYPE_FLOAT64"
    assert infos["optimizer.name"]["type"] == "DATA_TYPE_STRING"
    assert infos["deterministic"]["type"] == "DATA_TYPE_BOOL"
    values = {name: group["hparams"]["model.groups"] for name, group in tensorboard.groups().items()}
    assert values == {"groups-2": 2, "groups-4": 4, "stopped": 1}


def test_figures_can_be_sorted_and_are_those_of_the_result(trained):
    tensorboard, results = trained
    for name, result in results.items():
        found = {
            (metric["name"].get("group", ""), metric["name"]["tag"]): metric["value"]
            for metric in tensorboard.groups()[name]["metricValues"]
        }
        (figures,) = result.history
        assert found["", "best_val_accuracy"] == pytest.approx(result.best_value)
        assert found["", "test_accuracy"] == pytest.approx(result.test["accuracy"])
        assert found["train", "epoch_loss"] == pytest.approx(figures["loss"])
        assert found["validation", "epoch_loss"] == pytest.approx(figures["val_loss"])
    column = {"metric": {"group": "", "tag": "test_accuracy"}, "order": "ORDER_DESC", "missingValuesFirst": False}
    order = [name for name in tensorboard.groups(colParams=[column]) if name in results]
    assert order == sorted(results, key=lambda name: -results[name].test["accuracy"])


def test_hyperparameters_filter(trained):
    tensorboard, _ = trained
    only = tensorboard.groups(colParams=[{"hparam": "model.groups", "filterInterval": {"minValue": 3, "maxValue": 9}}])
    assert list(only) == ["groups-4"]


def test_pictures_histograms_and_texts_are_there(trained):
    tensorboard, _ = trained
    assert set(tensorboard.get("plugin/images/tags")["groups-2/validation"]) == {"confusion_matrix", "most_wrong"}
    assert "norm_1/gamma" in tensorboard.get("plugin/histograms/tags")["groups-2/train"]
    assert set(tensorboard.get("plugin/text/tags")["groups-2"]) >= {"config", "model"}
    (text,) = tensorboard.get("plugin/text/text?run=groups-2&tag=config")
    assert "batch_size" in text["text"]
