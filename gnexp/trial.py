"""One training from its config to its result, in a workdir, resumable after whatever stops it."""

import contextlib
import dataclasses
import pathlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ml_collections import ConfigDict
from tensorboard.compat.proto.summary_pb2 import Summary

from gnexp import backend, checkpoint, dashboard, data, hparams, result, workdir
from gnexp.console import Console
from gnexp.errors import GnexpError, InterruptedTrainingError
from gnexp.result import Result
from gnexp.summaries import EventFiles
from gnexp.training import Evaluation, StoppedError, Training, kernel

_IN_A_STEP = "in the middle of a step; the last save counts"


@dataclasses.dataclass(frozen=True)
class Execution:
    """What a training is told beyond its config when it is one execution of a sweep's trial.

    Attributes:
      group: the session group in the dashboard.
      hparams: what the group's row shows.
      command: the sweep's, for the provenance: a process that the sweep started knows but its own.
      epochs: after how many to end; schedules go by the config's, of which these may be the beginning.
      start: the checkpoint of another training of the same config to begin from, or None.
      closing: gives further figures for the dashboard, by tag, from the objective's best value.
    """

    group: str
    hparams: Mapping[str, bool | int | float | str]
    command: Sequence[str]
    epochs: int
    start: pathlib.Path | None = None
    closing: Callable[[float], Mapping[str, float]] = lambda best: {}


def run(
    config: ConfigDict,
    splits: data.Splits,
    directory: pathlib.Path,
    console: Console | None = None,
    execution: Execution | None = None,
) -> Result:
    """Trains what `config` says in `directory`, from where an earlier call left off.

    The checkpoint stays; `workdir.clean` removes it.

    Args:
      config: what `workdir.opened` gave for the directory.
      splits: the config's dataset (`data.load`).
      directory: the workdir, opened by the caller.
      console: where the progress goes; by default it is printed.
      execution: where it is part of a sweep. The dashboard then gets its curves, but no histograms and pictures, of
        which a sweep would have thousands.

    Raises:
      DivergedError: the loss is NaN or infinite.
      InterruptedTrainingError: SIGINT or SIGTERM came; everything is saved.
      OSError: the disk is full, say; the last checkpoint stays good.
      Of whatever is raised, the dashboard says FAILURE and `result.json` the message.
    """
    (directory / workdir.RESULT).unlink(missing_ok=True)
    processes = workdir.read_json(directory / workdir.PROVENANCE) or []
    normalization = "C++ kernel" if kernel(config) else "plain"
    source = {**workdir.provenance(), "devices": backend.devices(), "normalization": normalization}
    processes.append(source | ({"command": list(execution.command)} if execution else {}))
    workdir.write_json(directory / workdir.PROVENANCE, processes)
    saved = checkpoint.load(directory / workdir.CHECKPOINT)
    events = EventFiles(directory, saved.events if saved else None)
    events.forget_failure()
    console = console or Console(config.epochs, config.objective)
    session = hparams.session_start(
        execution.hparams if execution else hparams.of(config), execution.group if execution else ""
    )
    try:
        with stop_signals(directory) as received, _interruptions(received, directory):
            training = Training(config, splits)
            if saved:
                training.restore(saved.arrays, saved.progress)
                console.resumed(len(training.history), training.step)
            else:
                _begin(directory, training, events, session, execution)
                session = None
            done = saved.result if saved else None
            done = done or _train(directory, training, events, console, execution, received)
    except BaseException as error:
        _record_failure(directory, events, None if saved else session, error)
        raise
    finally:
        console.clear()
    # From here on the training is over, and all that is left is made again from the checkpoint if need be.
    with workdir.atomic(directory / workdir.MODEL) as temporary:
        training.best_model().save(temporary)
    result.write(directory, done)
    return done


def fail(directory: pathlib.Path, execution: Execution, error: Exception) -> None:
    """Records of a training what `run` does of one that raises, for a process that was killed before it could.

    Args:
      directory: the workdir, opened by the caller.
      execution: as `run` got it.
      error: why it failed.
    """
    saved = checkpoint.load(directory / workdir.CHECKPOINT)
    events = EventFiles(directory, saved.events if saved else None)
    events.forget_failure()
    session = None if saved else hparams.session_start(execution.hparams, execution.group)
    _record_failure(directory, events, session, error)


def _record_failure(directory: pathlib.Path, events: EventFiles, session: Summary | None, error: BaseException) -> None:
    """Records a failure; `session` is the session's start, where that is not in the events yet."""
    # Where even the record of a failure cannot be written, on a full disk say, the failure itself is what counts.
    with contextlib.suppress(OSError):
        events.write_failure(*([session] if session else []), hparams.session_end(hparams.FAILURE))
        result.write_failure(directory, error)


def _begin(
    directory: pathlib.Path, training: Training, events: EventFiles, session: Summary, execution: Execution | None
) -> None:
    dashboard.start(events, training, session)
    if execution is None:
        dashboard.network(events, training)
    elif execution.start:
        former = checkpoint.load(execution.start)
        training.restore(former.arrays, former.progress)
        for epoch in training.history:
            dashboard.curves(events, training, epoch)
    _save(directory, training, events)


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
            console.epoch(epoch, best=training.best_epoch == epoch.epoch)
    except StoppedError:
        _save(directory, training, events)
        epochs = len(training.history)
        where = f"after step {training.step} of epoch {epochs + 1}" if training.step else f"after epoch {epochs}"
        where += "; everything is saved"
        raise InterruptedTrainingError(received[0], where, directory) from None
    last = training.state()
    training.take_best_weights()
    test = training.evaluate(*training.splits.test)
    dashboard.end(events, training, test, execution.closing(training.best_value) if execution else {})
    done = _result(training, test)
    # Of the last epoch, not of the best: another trial may go on from it.
    checkpoint.save(directory / workdir.CHECKPOINT, checkpoint.Checkpoint(*last, events.state(), done))
    events.write()
    return done


def _save(directory: pathlib.Path, training: Training, events: EventFiles) -> None:
    checkpoint.save(
        directory / workdir.CHECKPOINT, checkpoint.Checkpoint(*training.state(), events.state(), result=None)
    )
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


_received: list[list[int]] = []  # of the outermost block, while there is one


@contextlib.contextmanager
def stop_signals(directory: pathlib.Path) -> Iterator[list[int]]:
    """Gives a list that gets the first SIGINT or SIGTERM; a later one does not wait for the step to end.

    Later means a second: whoever signals a whole group of processes may well signal each of them as well. Inside of
    another such block the list is that block's: a signal that comes when nobody asks any more must not be lost.
    """
    if _received:
        yield _received[-1]
        return
    received: list[int] = []
    first = 0.0

    def receive(signum: int, frame: object) -> None:
        nonlocal first
        if not received:
            received.append(signum)
            first = time.monotonic()
        elif time.monotonic() - first > 1:
            raise InterruptedTrainingError(signum, _IN_A_STEP, directory)

    former = {signum: signal.signal(signum, receive) for signum in (signal.SIGINT, signal.SIGTERM)}
    _received.append(received)
    try:
        yield received
    finally:
        _received.clear()
        for signum, handler in former.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def _interruptions(received: list[int], directory: pathlib.Path) -> Iterator[None]:
    """Takes what is raised after a signal came for an interruption, and not for a failure of the training.

    What a later signal raises in a layer's call leaves Keras as another error; and of a cluster that is shut down parts
    may be gone that a training still needs.
    """
    try:
        yield
    except (GnexpError, OSError):
        raise
    except Exception as error:
        if not received:
            raise
        raise InterruptedTrainingError(received[0], _IN_A_STEP, directory) from error
