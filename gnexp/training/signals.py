"""Ctrl-C and SIGTERM: how a training or a sweep is asked to stop."""

import contextlib
import pathlib
import signal
import time
from collections.abc import Iterator

from gnexp.errors import GnexpError, InterruptedTrainingError

_IN_A_STEP = "in the middle of a step; the training resumes from the last save"
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
def interruptions(received: list[int], directory: pathlib.Path) -> Iterator[None]:
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
