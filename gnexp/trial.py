"""One training from its config to its result, in a workdir, resumable after whatever stops it."""

import contextlib
import dataclasses
import pathlib
import signal
import time
from collections.abc import Iterator

from ml_collections import ConfigDict

from gnexp import backend, checkpoint, dashboard, data, hparams, result, workdir
from gnexp.console import Console, resumed
from gnexp.errors import InterruptedTrainingError
from gnexp.result import Result
from gnexp.summaries import EventFiles
from gnexp.training import Evaluation, StoppedError, Training


def run(config: ConfigDict, splits: data.Splits, directory: pathlib.Path) -> Result:
    """Trains what `config` says in `directory`, from where an earlier call left off; prints the progress.

    Args:
      config: what `workdir.opened` gave for the directory.
      splits: the config's dataset (`data.load`).
      directory: the workdir, opened by the caller.

    Raises:
      DivergedError: the loss is NaN or infinite.
      InterruptedTrainingError: SIGINT or SIGTERM came; everything is saved.
      OSError: the disk is full, say; the last checkpoint stays good.
      Of whatever is raised, the dashboard says FAILURE and `result.json` the message.
    """
    (directory / workdir.RESULT).unlink(missing_ok=True)
    processes = workdir.read_json(directory / workdir.PROVENANCE) or []
    processes.append({**workdir.provenance(), "devices": backend.devices()})
    workdir.write_json(directory / workdir.PROVENANCE, processes)
    saved = checkpoint.load(directory / workdir.CHECKPOINT)
    events = EventFiles(directory, saved.events if saved else None)
    events.forget_failure()
    console = Console(config.epochs, config.objective)
    try:
        with _stop_signals(directory) as received:
            training = Training(config, splits)
            if saved:
                training.restore(saved.arrays, saved.progress)
                resumed(len(training.history), training.step)
            else:
                dashboard.start(events, training)
                _save(directory, training, events)
            done = saved.result if saved else None
            done = done or _train(directory, training, events, console, received)
    except BaseException as error:
        # Where even the record of a failure cannot be written, on a full disk say, the failure itself is what counts.
        with contextlib.suppress(OSError):
            events.write_failure(hparams.session_end(hparams.FAILURE))
            result.write_failure(directory, error)
        raise
    finally:
        console.clear()
    # From here on the training is over, and all that is left is made again from the checkpoint if need be.
    with workdir.atomic(directory / workdir.MODEL) as temporary:
        training.best_model().save(temporary)
    result.write(directory, done)
    workdir.clean(directory)
    return done


def _train(
    directory: pathlib.Path, training: Training, events: EventFiles, console: Console, received: list[int]
) -> Result:
    try:
        for epoch in training.epochs(console.steps, lambda: bool(received)):
            dashboard.epoch(events, training, epoch)
            _save(directory, training, events)
            console.epoch(epoch, best=training.best_epoch == epoch.epoch)
    except StoppedError:
        _save(directory, training, events)
        epochs = len(training.history)
        where = f"after step {training.step} of epoch {epochs + 1}" if training.step else f"after epoch {epochs}"
        where += "; everything is saved"
        raise InterruptedTrainingError(received[0], where, directory) from None
    training.take_best_weights()
    test = training.evaluate(*training.splits.test)
    dashboard.end(events, training, test)
    done = _result(training, test)
    _save(directory, training, events, done)
    return done


def _save(directory: pathlib.Path, training: Training, events: EventFiles, done: Result | None = None) -> None:
    state = checkpoint.Checkpoint(*training.state(), events.state(), done)
    checkpoint.save(directory / workdir.CHECKPOINT, state)
    events.write()


def _result(training: Training, test: Evaluation) -> Result:
    history = [dataclasses.asdict(epoch) for epoch in training.history]
    return Result(
        status=result.SUCCESS,
        dataset=training.config.data.name,
        validation=training.config.data.validation,
        objective=training.config.objective,
        best_value=training.best_value,
        best_epoch=training.best_epoch,
        test_accuracy=test.accuracy,
        test_loss=test.loss,
        seconds=round(sum(epoch["seconds"] for epoch in history), 3),
        history=history,
    )


@contextlib.contextmanager
def _stop_signals(directory: pathlib.Path) -> Iterator[list[int]]:
    """Gives a list that gets the first SIGINT or SIGTERM; a later one does not wait for the step to end.

    Later means a second: whoever signals a whole group of processes may well signal each of them as well.
    """
    received: list[int] = []
    first = 0.0

    def receive(signum: int, frame: object) -> None:
        nonlocal first
        if not received:
            received.append(signum)
            first = time.monotonic()
        elif time.monotonic() - first > 1:
            raise InterruptedTrainingError(signum, "in the middle of a step; the last save counts", directory)

    former = {signum: signal.signal(signum, receive) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
