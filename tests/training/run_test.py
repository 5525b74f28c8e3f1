"""One training in its workdir: what is there afterwards, and what is recorded when it fails."""

import json
import signal

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import api_pb2, metadata

from gnexp.data.load import load
from gnexp.errors import DivergedError, UserError
from gnexp.events.event_files import EventFiles
from gnexp.training.run import Execution, train
from gnexp.workdir import checkpoint, files, result
from gnexp.workdir.folder import opened, remove_checkpoint
from tests.support.pictures import not_drawn


@pytest.fixture
def small(small):
    """With batches of one size, so that only one step is compiled."""
    small.data.train_size, small.data.validation, small.data.batch_size = 96, 48, 48
    return small


def _tags(directory):
    """Returns run -> tag -> steps, as TensorBoard reads the folder."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    return {
        run: {tag: [event.step for event in multiplexer.Tensors(run, tag)] for tag in tags["tensors"]}
        for run, tags in multiplexer.Runs().items()
    }


def _status(directory):
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    content = multiplexer.SummaryMetadata(".", metadata.SESSION_END_INFO_TAG).plugin_data.content
    return metadata.parse_session_end_info_plugin_data(content).status


def _run(config, directory):
    with opened(directory, config) as config, not_drawn():
        done = train(config, load(config.data), directory)
    remove_checkpoint(directory)
    return done


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished training of two epochs: its config, folder and result."""
    from configs import smoke

    config, directory = smoke.get_config(), tmp_path_factory.mktemp("done")
    config.model.args.filters, config.model.args.units = (4, 4), 8
    config.epochs, config.data.batch_size, config.data.train_size = 2, 64, 256
    return config, directory, _run(config, directory)


@pytest.mark.any_backend
def test_the_folder_holds_what_the_design_says_and_no_more(done):
    _, directory, _ = done
    names = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    events = {name for name in names if "tfevents" in name}
    assert names - events == {".lock", "config.json", "provenance.json", "result.json", "checkpoints/best.keras"}
    assert {name.rpartition("/")[0] for name in events} == {"", "train", "validation"}
    assert len(events) == 3


def test_every_tag_has_each_step_once(done):
    _, directory, outcome = done
    tags = _tags(directory)
    epochs = [0, 1]
    best = [epoch for epoch in epochs if epoch + 1 <= outcome.best_epoch]
    assert tags["train"]["epoch_loss"] == tags["validation"]["epoch_loss"] == epochs
    assert tags["train"]["epoch_accuracy"] == tags["validation"]["epoch_accuracy"] == epochs
    assert tags["train"]["epoch_learning_rate"] == epochs
    assert tags["train"]["norm_1/gamma"] == tags["train"]["norm_2/beta"] == epochs
    assert tags["."]["best_val_accuracy"] == tags["."]["best_val_loss"] == epochs
    assert tags["validation"]["confusion_matrix"][-1] == tags["validation"]["most_wrong"][-1] == best[-1]
    assert tags["."]["test_accuracy"] == [outcome.best_epoch - 1]
    assert tags["."]["config"] == tags["."]["model"] == tags["."][metadata.SESSION_START_INFO_TAG] == [0]
    assert _status(directory) == api_pb2.STATUS_SUCCESS


def test_the_test_accuracy_is_that_of_the_model_kept(done):
    config, directory, outcome = done
    test = load(config.data).test
    images, labels = test.inputs, test.targets
    model = keras.saving.load_model(directory / files.MODEL)
    assert not model.compiled, "the last epoch's optimizer, which is of no use to the best weights"
    logits = model.predict(images, verbose=0)
    assert float(np.mean(logits.argmax(axis=1) == labels)) == outcome.test["accuracy"]
    assert outcome.best_value == max(epoch["val_accuracy"] for epoch in outcome.history)


def test_the_records_say_what_ran_where(done):
    config, directory, outcome = done
    assert json.loads((directory / "config.json").read_text())["model"]["groups"] == config.model.groups
    (process,) = json.loads((directory / "provenance.json").read_text())
    assert process["versions"]["keras"] == keras.__version__
    assert process["devices"]
    assert result.finished(directory) == outcome


def test_another_config_is_refused_naming_the_keys(done):
    config, directory, _ = done
    other = config.copy_and_resolve_references()
    other.model.groups, other.seed = 2, 1
    with pytest.raises(
        UserError, match=r"config\.model\.groups is 4 there and 2 here; config\.seed is 0 there and 1 here"
    ):
        _run(other, directory)


def test_divergence_is_recorded_as_a_failure(small, tmp_path):
    small.optimizer.name, small.optimizer.learning_rate, small.schedule.name = "sgd", 1e30, "constant"
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(DivergedError):
        _run(small, tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert _status(tmp_path) == api_pb2.STATUS_FAILURE
    recorded = json.loads((tmp_path / "result.json").read_text())
    assert recorded["status"] == "failure"
    assert "at step" in recorded["message"]


@pytest.mark.any_backend
@pytest.mark.parametrize("dies_in", ["save", "write", "model", "result"])
def test_a_death_at_any_point_of_the_end_is_made_good(small, tmp_path, monkeypatch, dies_in):
    """Raises where the process could be killed once training is over, then runs the same training again."""

    class Killed(BaseException):
        pass

    small.epochs = 1
    target, name = {
        "save": (checkpoint, "save"),
        "write": (EventFiles, "write"),
        "model": (keras.Model, "save"),
        "result": (result, "write"),
    }[dies_in]
    real, calls = getattr(target, name), []
    # Before the end, the start and the epoch each save and write once; EventFiles also writes when it is made.
    harmless = {"save": 2, "write": 3, "model": 0, "result": 0}[dies_in]

    def dying(*arguments, **options):
        calls.append(name)
        if len(calls) > harmless:
            raise Killed
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(target, name, dying)
        # A kill runs no handlers, so that no failure is recorded.
        patched.setattr(EventFiles, "write_failure", lambda *_: None)
        patched.setattr(result, "write_failure", lambda *_: None)
        with pytest.raises(Killed):
            _run(small, tmp_path)
    assert result.finished(tmp_path) is None

    outcome = _run(small, tmp_path)
    assert result.finished(tmp_path) == outcome
    tags = _tags(tmp_path)
    assert tags["."]["test_accuracy"] == tags["train"]["epoch_loss"] == [0]
    assert _status(tmp_path) == api_pb2.STATUS_SUCCESS
    assert not (tmp_path / files.CHECKPOINT).exists()


@pytest.mark.any_backend
@pytest.mark.parametrize("former", [None, b"PK no archive"], ids=["missing", "damaged"])
def test_without_the_checkpoint_that_it_continues_a_training_begins_at_its_first_epoch(small, tmp_path, former, capfd):
    small.epochs = 1
    path = tmp_path / "former" / "state.npz"
    path.parent.mkdir()
    if former:
        path.write_bytes(former)
    execution = Execution("group", {}, (), epochs=1, start=path)
    with opened(tmp_path / "later", small) as config, not_drawn():
        done = train(config, load(config.data), tmp_path / "later", execution=execution)
    assert len(done.history) == 1
    assert f"{path} is damaged" in capfd.readouterr().out
