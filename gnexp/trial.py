"""One training from its config to its result, in a workdir, resumable after whatever stops it."""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Iterator

from ml_collections import ConfigDict

from gnexp import backend, checkpoint, dashboard, data, hparams, result, workdir
from gnexp.config import settle, to_json
from gnexp.console import Console, resumed
from gnexp.errors import InterruptedTrainingError
from gnexp.result import Result
from gnexp.summaries import EventFiles
from gnexp.training import Evaluation, StoppedError, Training


def run(config: ConfigDict, directory: pathlib.Path) -> Result:
    """Trains what `config` says in `directory`, from where an earlier call left off; prints the progress.

    Args:
      config: a valid config (`config.validate`) whose dataset can be had (`data.available`).
      directory: where to; the caller holds its lock (`workdir.locked`).

    Raises:
      UserError: a training of another config lies there.
      DivergedError: the loss is NaN or infinite; the dashboard and `result.json` say FAILURE.
      InterruptedTrainingError: SIGINT or SIGTERM came; everything is saved.
      OSError: the disk is full, say; the last checkpoint stays good.
    """
    stored = workdir.read_json(directory / workdir.CONFIG)
    if stored is not None:
        config = settle(config, stored)
    if done := result.finished(directory):
        _clean(directory)
        return done
    (directory / workdir.RESULT).unlink(missing_ok=True)
    if stored is None:
        workdir.write_json(directory / workdir.CONFIG, to_json(config))
    processes = workdir.read_json(directory / workdir.PROVENANCE) or []
    processes.append({**workdir.provenance(), "devices": backend.devices()})
    workdir.write_json(directory / workdir.PROVENANCE, processes)
    with _stop_signals() as received:
        return _run(config, directory, received)


def _run(config: ConfigDict, directory: pathlib.Path, received: list[int]) -> Result:
    saved = checkpoint.load(directory / workdir.CHECKPOINT)
    events = EventFiles(directory, saved.events if saved else None)
    events.forget_failure()
    console = Console(config.epochs, config.objective)
    try:
        training = Training(config, data.load(config.data))
        if saved:
            training.restore(saved.arrays, saved.progress)
            resumed(len(training.history), training.step)
        else:
            dashboard.start(events, training)
            _save(directory, training, events)
        for epoch in training.epochs(console.steps, lambda: bool(received)):
            dashboard.epoch(events, training, epoch)
            _save(directory, training, events)
            console.epoch(epoch, best=training.best_epoch == epoch.epoch)
        return _finish(directory, training, events, saved.result if saved else None)
    except StoppedError:
        _save(directory, training, events)
        events.write_failure(hparams.session_end(hparams.FAILURE))
        where = f"after step {training.step} of epoch {len(training.history) + 1}"
        raise InterruptedTrainingError(received[0], where) from None
    except BaseException as error:
        # Where even the record of a failure cannot be written, on a full disk say, the failure itself is what counts.
        with contextlib.suppress(OSError):
            events.write_failure(hparams.session_end(hparams.FAILURE))
            result.write_failure(directory, error)
        raise
    finally:
        console.clear()


def _save(directory: pathlib.Path, training: Training, events: EventFiles, done: Result | None = None) -> None:
    state = checkpoint.Checkpoint(*training.state(), events.state(), done)
    checkpoint.save(directory / workdir.CHECKPOINT, state)
    events.write()


def _finish(directory: pathlib.Path, training: Training, events: EventFiles, done: Result | None) -> Result:
    training.take_best_weights()
    if done is None:
        test = training.evaluate(*training.splits.test)
        dashboard.end(events, training, test)
        done = _result(training, test)
        _save(directory, training, events, done)
    with workdir.atomic(directory / workdir.MODEL) as temporary:
        training.model.save(temporary)
    result.write(directory, done)
    _clean(directory)
    return done


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


def _clean(directory: pathlib.Path) -> None:
    """Removes what only an unfinished training needs."""
    (directory / workdir.CHECKPOINT).unlink(missing_ok=True)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Gives a list that gets the number of each SIGINT and SIGTERM; a second one no longer waits for the step."""
    received: list[int] = []

    def receive(signum: int, frame: object) -> None:
        received.append(signum)
        if len(received) > 1:
            raise KeyboardInterrupt

    former = {signum: signal.signal(signum, receive) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
