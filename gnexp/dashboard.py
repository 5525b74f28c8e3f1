"""What a training shows in TensorBoard, tag by tag.

Runs and tags are those of Keras's TensorBoard callback, so that the curves of `train` and `validation` lie over each
other: `epoch_loss`, `epoch_accuracy`, `epoch_learning_rate`, with the epoch, counted from 0, as the step.
"""

import json

import keras

from gnexp import hparams, pictures, summaries
from gnexp.config import to_json
from gnexp.summaries import EventFiles
from gnexp.training import Epoch, Evaluation, Training


def start(events: EventFiles, training: Training) -> None:
    """Notes the session's start: every hyperparameter, the config and the network."""
    events.add("", hparams.session_start(hparams.of(training.config)))
    events.add("", summaries.text("config", _code(json.dumps(to_json(training.config), indent=2))))
    lines: list[str] = []
    training.model.summary(line_length=88, print_fn=lambda line, **_: lines.append(line))
    events.add("", summaries.text("model", _code("\n".join(lines))))


def _code(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def epoch(events: EventFiles, training: Training, figures: Epoch) -> None:
    """Notes the curves and histograms of an epoch that has just ended, and its mistakes where it is the best."""
    step = figures.epoch - 1
    best = training.history[training.best_epoch - 1]
    scalars = {
        "train": {
            "epoch_loss": figures.loss,
            "epoch_accuracy": figures.accuracy,
            "epoch_learning_rate": figures.learning_rate,
        },
        "validation": {"epoch_loss": figures.val_loss, "epoch_accuracy": figures.val_accuracy},
        # The dashboard's table shows the last value of a tag, hence tags for the best epoch so far; both figures
        # whichever chose it, so that trainings of different objectives compare.
        "": {"best_val_accuracy": best.val_accuracy, "best_val_loss": best.val_loss},
    }
    for run, values in scalars.items():
        for tag, value in values.items():
            events.add(run, summaries.scalar(tag, value), step)
    for layer in training.model.layers:
        for name in ("gamma", "beta"):
            if isinstance(variable := getattr(layer, name, None), keras.Variable):
                values = keras.ops.convert_to_numpy(variable).reshape(-1)
                events.add("train", summaries.histogram(f"{layer.name}/{name}", values), step)
    if training.best_epoch == figures.epoch:
        _mistakes(events, training, step)


def _mistakes(events: EventFiles, training: Training, step: int) -> None:
    images, labels = training.splits.validation
    probabilities, names = training.validation.probabilities, training.splits.labels
    for tag, picture in {
        "confusion_matrix": pictures.confusion_matrix(labels, probabilities, names),
        "most_wrong": pictures.most_wrong(images, labels, probabilities, names),
    }.items():
        events.add("validation", summaries.image(tag, picture.png, picture.width, picture.height), step)


def end(events: EventFiles, training: Training, test: Evaluation) -> None:
    """Notes the session's end in success, with the test figures of the best epoch's weights."""
    step = training.best_epoch - 1
    events.add("", summaries.scalar("test_accuracy", test.accuracy), step)
    events.add("", summaries.scalar("test_loss", test.loss), step)
    events.add("", hparams.session_end(hparams.SUCCESS))
