"""What a training shows in TensorBoard, tag by tag.

Runs and tags are those of Keras's TensorBoard callback, so that the curves of `train` and `validation` share a plot:
`epoch_loss`, `epoch_accuracy`, `epoch_learning_rate`, with the epoch, counted from 0, as the step.
"""

import dataclasses
import json
from collections.abc import Mapping

import keras
import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from gnexp.config.stored import to_json
from gnexp.events import hparams, summaries
from gnexp.events.event_files import EventFiles
from gnexp.norms import table
from gnexp.tasks import pictures
from gnexp.tasks.task import Evaluation
from gnexp.training.loop import Training

_VALIDATION = "val_"


def start(events: EventFiles, training: Training, session: Summary) -> None:
    """Adds the session's start (`hparams.session_start`) and the config to the events."""
    events.add("", session)
    events.add("", summaries.text("config", _code(json.dumps(to_json(training.config), indent=2))))


def network(events: EventFiles, training: Training) -> None:
    """Adds Keras's summary of the network, the table of its norms, and augmented images, to the events."""
    lines: list[str] = []
    training.model.summary(line_length=88, print_fn=lambda line, **_: lines.append(line))
    if training.augment:
        picture = pictures.images(training.augment.examples(training.splits))
        events.add("", summaries.image("augmented", picture.png, picture.width, picture.height))
    norms = table.text(table.rows(training.model))
    events.add("", summaries.text("model", _code("\n".join([*lines, "", norms]))))


def _code(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def curves(events: EventFiles, training: Training, figures: dict[str, float]) -> None:
    """Adds the points of a finished epoch to the curves."""
    step = figures["epoch"] - 1
    best = training.best(figures["epoch"])
    of_validation = {name: value for name, value in figures.items() if name.startswith(_VALIDATION)}
    of_training = {name: figures[name] for name in figures if name not in {*of_validation, "epoch", "seconds"}}
    scalars = {
        "train": {f"epoch_{name}": value for name, value in of_training.items()},
        "validation": {f"epoch_{name.removeprefix(_VALIDATION)}": value for name, value in of_validation.items()},
        # The dashboard's table shows a tag's last value, so the best epoch so far has tags of its own. All are there
        # for any objective, so that trainings with different objectives can be compared.
        "": {f"best_{name}": best[name] for name in of_validation},
    }
    for run, values in scalars.items():
        for tag, value in values.items():
            events.add(run, summaries.scalar(tag, value), step)


def details(events: EventFiles, training: Training, figures: dict[str, float]) -> None:
    """Adds the histograms of the epoch that has just ended, and pictures of its mistakes if it is the best so far."""
    step = figures["epoch"] - 1
    for path, layer in table.walk(training.model):
        for name in ("gamma", "beta"):
            if isinstance(variable := getattr(layer, name, None), keras.Variable):
                values = keras.ops.convert_to_numpy(variable).reshape(-1)
                events.add("train", summaries.histogram(f"{path}/{name}", values), step)
    if training.best_epoch == figures["epoch"]:
        outputs = training.validation.outputs
        shown = training.splits.validation.part(slice(len(outputs)))
        shown = dataclasses.replace(shown, targets=np.asarray(shown.targets))  # They may not be in memory yet.
        for tag, picture in training.task.pictures(shown, outputs):
            events.add("validation", summaries.image(tag, picture.png, picture.width, picture.height), step)


def end(events: EventFiles, training: Training, test: Evaluation, more: Mapping[str, float]) -> None:
    """Adds the session's successful end, with the test figures of the best epoch's weights and `more` figures."""
    step = training.best_epoch - 1
    figures = {f"test_{name}": value for name, value in {**test.figures, "loss": test.loss}.items()}
    for tag, value in {**figures, **more}.items():
        events.add("", summaries.scalar(tag, value), step)
    events.add("", hparams.session_end(hparams.SUCCESS))
