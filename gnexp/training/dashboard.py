"""What a training shows in TensorBoard, tag by tag.

Runs and tags are those of Keras's TensorBoard callback, so that the curves of `train` and `validation` share a plot:
`epoch_loss`, `epoch_accuracy`, `epoch_learning_rate`, with the epoch, counted from 0, as the step.
"""

import json
from collections.abc import Mapping

import keras
from tensorboard.compat.proto.summary_pb2 import Summary

from gnexp.config.stored import to_json
from gnexp.events import hparams, summaries
from gnexp.events.event_files import EventFiles
from gnexp.norms import table
from gnexp.tasks.task import Evaluation
from gnexp.training.epoch import Epoch
from gnexp.training.loop import Training


def start(events: EventFiles, training: Training, session: Summary) -> None:
    """Adds the session's start (`hparams.session_start`) and the config to the events."""
    events.add("", session)
    events.add("", summaries.text("config", _code(json.dumps(to_json(training.config), indent=2))))


def network(events: EventFiles, training: Training) -> None:
    """Adds Keras's summary of the network, and the table of its norms, to the events."""
    lines: list[str] = []
    training.model.summary(line_length=88, print_fn=lambda line, **_: lines.append(line))
    norms = table.text(table.rows(training.model))
    events.add("", summaries.text("model", _code("\n".join([*lines, "", norms]))))


def _code(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def curves(events: EventFiles, training: Training, figures: Epoch) -> None:
    """Adds the points of a finished epoch to the curves."""
    step = figures.epoch - 1
    best = training.best(figures.epoch)
    scalars = {
        "train": {
            "epoch_loss": figures.loss,
            "epoch_accuracy": figures.accuracy,
            "epoch_learning_rate": figures.learning_rate,
        },
        "validation": {"epoch_loss": figures.val_loss, "epoch_accuracy": figures.val_accuracy},
        # The dashboard's table shows a tag's last value, so the best epoch so far has tags of its own. Both are there
        # for either objective, so that trainings with different objectives can be compared.
        "": {"best_val_accuracy": best.val_accuracy, "best_val_loss": best.val_loss},
    }
    for run, values in scalars.items():
        for tag, value in values.items():
            events.add(run, summaries.scalar(tag, value), step)


def details(events: EventFiles, training: Training, figures: Epoch) -> None:
    """Adds the histograms of the epoch that has just ended, and pictures of its mistakes if it is the best so far."""
    step = figures.epoch - 1
    for path, layer in table.walk(training.model):
        for name in ("gamma", "beta"):
            if isinstance(variable := getattr(layer, name, None), keras.Variable):
                values = keras.ops.convert_to_numpy(variable).reshape(-1)
                events.add("train", summaries.histogram(f"{path}/{name}", values), step)
    if training.best_epoch == figures.epoch:
        validation = training.splits.validation
        for tag, picture in training.task.pictures(validation.inputs, validation.targets, training.validation):
            events.add("validation", summaries.image(tag, picture.png, picture.width, picture.height), step)


def end(events: EventFiles, training: Training, test: Evaluation, more: Mapping[str, float]) -> None:
    """Adds the session's successful end, with the test figures of the best epoch's weights and `more` figures."""
    step = training.best_epoch - 1
    for tag, value in {"test_accuracy": test.accuracy, "test_loss": test.loss, **more}.items():
        events.add("", summaries.scalar(tag, value), step)
    events.add("", hparams.session_end(hparams.SUCCESS))
