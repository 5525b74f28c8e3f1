"""Ctrl-C and SIGTERM: how a training or a sweep is asked to stop."""

import contextlib
import pathlib
import signal
import threading
import time
from collections.abc import Iterator

from gnexp.errors import GnexpError, InterruptedTrainingError
from gnexp.terminal import signals

_IN_A_STEP = "in the middle of a step; the training resumes from the last save"
_received: list[list[int]] = []  # of the outermost block, while there is one


@contextlib.contextmanager
def stop_signals(directory: pathlib.Path) -> Iterator[list[int]]:
    """Yields a list to which the first SIGINT or SIGTERM is added; a later one does not wait for the step to end.

    A signal counts as later after a second, because a process may be signalled twice: by itself, and with its process
    group. A block inside another yields the outer block's list, so that no signal is lost when the inner one ends. Only
    the main thread can take signals: in another one the list stays empty.

    Raises:
      InterruptedTrainingError: a later signal came.
    """
    if _received:
        yield _received[-1]
        return
    if not in_main_thread():
        yield []
        return
    received = signals.received()  # One that was raised where nothing could take it, in a destructor, still counts.
    first = 0.0

    def receive(signum: int, frame: object) -> None:
        nonlocal first
        if not received:
            received.append(signum)
            first = time.monotonic()
        elif time.monotonic() - first > 1:
            raise InterruptedTrainingError(signum, _IN_A_STEP, directory)

    former = {signum: signal.signal(signum, receive) for signum in signals.STOPPING}
    _received.append(received)
    try:
        yield received
    finally:
        _received.clear()
        for signum, handler in former.items():
            signal.signal(signum, handler)


def in_main_thread() -> bool:
    """Tells whether this thread may set signal handlers."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def interruptions(received: list[int], directory: pathlib.Path) -> Iterator[None]:
    """Treats an error after a signal as an interruption, not as a failure of the training.

    What a later signal raises inside a layer's call leaves Keras as another error, and a cluster that is shut down may
    lack parts that a training still needs.

    Raises:
      InterruptedTrainingError: a signal had come before the error.
    """
    try:
        yield
    except (GnexpError, OSError):
        raise
    except Exception as error:
        if not received:
            raise
        raise InterruptedTrainingError(received[0], _IN_A_STEP, directory) from error
