"""Runs one training in a workdir, from its config to its result; it can be resumed whatever stops it."""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

from ml_collections import ConfigDict
from tensorboard.compat.proto.summary_pb2 import Summary

from gnexp.data.splits import Splits
from gnexp.errors import DamagedError, DivergedError, InterruptedTrainingError
from gnexp.events import hparams
from gnexp.events.event_files import EventFiles
from gnexp.norms import table
from gnexp.tasks.create import create
from gnexp.tasks.task import Evaluation
from gnexp.training import backend, dashboard, memory
from gnexp.training.console import Console, TerminalConsole
from gnexp.training.loop import StoppedError, Training, kernel
from gnexp.training.resume import Resumed, begin_again, restore, resume
from gnexp.training.signals import interruptions, stop_signals
from gnexp.training.traced import Kept
from gnexp.workdir import checkpoint, files, result
from gnexp.workdir.code import of as code_of
from gnexp.workdir.provenance import provenance
from gnexp.workdir.provenance import read as read_provenance
from gnexp.workdir.result import Result


@dataclasses.dataclass(frozen=True)
class Execution:
    """What a training needs beyond its config if it is one execution of a sweep's trial.

    Attributes:
      group: the session group in the dashboard.
      hparams: the hyperparameters that the group's row shows.
      command: the sweep's command, for the provenance: a worker process only knows its own.
      epochs: the number of epochs to train; it may be less than the config's, on which the schedules depend.
      start: the checkpoint of another training of the same config to begin from, or None.
      closing: takes the objective's best value, and returns further figures for the dashboard by tag.
      kept: the network of the process's earlier trainings.
    """

    group: str
    hparams: Mapping[str, bool | int | float | str]
    command: Sequence[str]
    epochs: int
    start: pathlib.Path | None = None
    closing: Callable[[float], Mapping[str, float]] = lambda best: {}
    kept: Kept | None = None


def train(
    config: ConfigDict,
    splits: Splits,
    directory: pathlib.Path,
    console: Console | None = None,
    execution: Execution | None = None,
) -> Result:
    """Trains `config` in `directory`, from where an earlier call left off.

    The checkpoint stays; `folder.remove_checkpoint` removes it.

    Args:
      config: the config that `folder.opened` yielded for the directory.
      splits: the config's dataset (`data.load.load`).
      directory: the workdir, opened by the caller.
      console: where the progress is reported; by default it is printed.
      execution: given if the training is part of a sweep. The dashboard then shows its curves, but no histograms and
        pictures, because a sweep would have thousands of them.

    Raises:
      DivergedError: the loss is NaN or infinite.
      MemoryTooSmallError: the training cannot fit into memory; it has not begun, and nothing is recorded.
      OutOfMemoryError: memory ran out.
      InterruptedTrainingError: SIGINT or SIGTERM stopped the training; everything is saved.
      OSError: for example, the disk is full; the last checkpoint is intact.
      After every other error, the dashboard shows FAILURE and `result.json` holds the message.
    """
    memory.check(config, splits, create(config, splits).outputs)
    (directory / files.RESULT).unlink(missing_ok=True)
    console = console or TerminalConsole(config.epochs, config.objective)
    _append_provenance(directory, config, execution, console)
    found = resume(directory, console.damaged)
    found.events.forget_failure()
    start = _session_start(config, execution)
    try:
        with stop_signals(directory) as received, interruptions(received, directory), memory.in_one_line():
            training = Training(config, splits, execution and execution.kept)
            norms = table.rows(training.model)
            console.norms(table.summary(norms), table.check(norms, training.model.name))
            found = _restored(training, directory, found, console)
            if not found.saved:
                _begin(directory, training, found.events, start, execution, console)
            elif not found.started:
                _start_events(training, found.events, start, execution)
                _save(directory, training, found.events)
            found.started = True
            over = found.saved and found.saved.result
            done = over or _train(directory, training, found.events, console, execution, received)
    except BaseException as error:
        _record_failure(directory, found.events, None if found.started else start, error)
        raise
    finally:
        console.clear()
    # The training is over. If the process dies from here on, the next one makes the rest again from the checkpoint.
    with files.atomic(directory / files.MODEL) as temporary, backend.without_tensorflow():
        training.best_model().save(temporary)
    result.write(directory, done)
    return done


def _restored(training: Training, directory: pathlib.Path, found: Resumed, console: Console) -> Resumed:
    """Restores a training from what was found, and returns what it is restored from."""
    if not found.saved:
        return found
    try:
        restore(training, directory / files.CHECKPOINT, found.saved)
    except DamagedError as error:
        return begin_again(directory, error, console.damaged)
    console.resumed(len(training.history), training.step)
    return found


def _append_provenance(
    directory: pathlib.Path, config: ConfigDict, execution: Execution | None, console: Console
) -> None:
    """Adds this process to those that worked on the training, in `provenance.json`."""
    process = {
        **provenance(),
        "devices": backend.devices(),
        "normalization": "C++ kernel" if kernel(config) else "plain",
    }
    if (code := code_of(config, directory)).functions:
        process["code"] = code.record()
    if execution:
        process["command"] = list(execution.command)
    path = directory / files.PROVENANCE
    try:
        earlier = read_provenance(path)
    except DamagedError as error:
        aside = files.set_aside(path)
        console.damaged(f"{path} is damaged ({error.why}): it is kept as {aside.name}, and a new one is begun")
        earlier = []
    files.write_json(path, [*earlier, process])


def _session_start(config: ConfigDict, execution: Execution | None) -> Summary:
    if execution:
        return hparams.session_start(execution.hparams, execution.group)
    return hparams.session_start(hparams.of(config))


def record_failure(directory: pathlib.Path, execution: Execution, error: Exception) -> None:
    """Records a training's failure as `train` does, for a process that was killed before it could.

    Args:
      directory: the workdir, opened by the caller.
      execution: the execution that was given to `train`.
      error: why the training failed.
    """
    found = resume(directory, print)
    found.events.forget_failure()
    session = None if found.started else hparams.session_start(execution.hparams, execution.group)
    _record_failure(directory, found.events, session, error)


def _record_failure(directory: pathlib.Path, events: EventFiles, session: Summary | None, error: BaseException) -> None:
    """Records a failure; `session` is the session's start if the events do not hold it yet, otherwise None."""
    # If this record cannot be written either, for example on a full disk, the caller still raises the first error.
    with contextlib.suppress(OSError):
        events.write_failure(*([session] if session else []), hparams.session_end(hparams.FAILURE))
        result.write_failure(directory, error)


def _begin(
    directory: pathlib.Path,
    training: Training,
    events: EventFiles,
    session: Summary,
    execution: Execution | None,
    console: Console,
) -> None:
    if execution and execution.start:
        _continue(training, execution.start, console)
    _start_events(training, events, session, execution)
    _save(directory, training, events)


def _continue(training: Training, path: pathlib.Path, console: Console) -> None:
    """Restores the checkpoint of another training of the same config; without it, this one begins at the first step."""
    try:
        if not (former := checkpoint.load(path)):
            raise DamagedError(path, "it is missing")
        restore(training, path, former)
    except DamagedError as error:
        console.damaged(f"{path} is damaged ({error.why}): the training begins at its first epoch instead")


def _start_events(training: Training, events: EventFiles, session: Summary, execution: Execution | None) -> None:
    """Adds what comes before the next epoch: the start, and the curves of the epochs that there are already."""
    dashboard.start(events, training, session)
    if execution is None:
        dashboard.network(events, training)
    for epoch in training.history:
        dashboard.curves(events, training, epoch)


def _train(
    directory: pathlib.Path,
    training: Training,
    events: EventFiles,
    console: Console,
    execution: Execution | None,
    received: list[int],
) -> Result:
    try:
        for epoch in training.epochs(console.steps, lambda: bool(received), execution and execution.epochs):
            dashboard.curves(events, training, epoch)
            if execution is None:
                dashboard.details(events, training, epoch)
            _save(directory, training, events)
            console.epoch(epoch, best=training.best_epoch == epoch["epoch"])
    except StoppedError:
        _save(directory, training, events)
        epochs = len(training.history)
        where = f"after step {training.step} of epoch {epochs + 1}" if training.step else f"after epoch {epochs}"
        where += "; everything is saved"
        raise InterruptedTrainingError(received[0], where, directory) from None
    last = training.state()
    training.take_best_weights()
    test = training.evaluate(training.splits.test)
    if not math.isfinite(test.loss):
        raise DivergedError(f"the test loss is {test.loss} with the weights of epoch {training.best_epoch}")
    dashboard.end(events, training, test, execution.closing(training.best_value) if execution else {})
    done = _result(training, test, (execution and execution.epochs) or training.config.epochs)
    # Saves the last epoch, not the best: another trial may continue from it.
    checkpoint.save(directory / files.CHECKPOINT, checkpoint.Checkpoint(*last, events.state(), done))
    events.write()
    return done


def _save(directory: pathlib.Path, training: Training, events: EventFiles) -> None:
    checkpoint.save(directory / files.CHECKPOINT, checkpoint.Checkpoint(*training.state(), events.state(), result=None))
    events.write()


def _result(training: Training, test: Evaluation, epochs: int) -> Result:
    history = training.history
    return Result(
        status=result.SUCCESS,
        dataset=training.config.data.name,
        validation=training.config.data.validation,
        objective=training.config.objective,
        best_value=training.best_value,
        best_epoch=training.best_epoch,
        test={**test.figures, "loss": test.loss},
        seconds=round(sum(epoch["seconds"] for epoch in history), 3),
        history=history,
        patience=training.out_of_patience and len(history) < epochs,
    )
