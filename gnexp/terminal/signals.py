"""Ctrl-C and SIGTERM from a command's first line to its last, where no training or sweep handles them itself."""

import contextlib
import pathlib
import select
import signal
import sys
import time
from collections.abc import Iterator

from gnexp.errors import InterruptedTrainingError

STOPPING = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
_last = 0.0


class SignalError(BaseException):
    """A signal came; not an Exception, so that a library that is being imported does not take it for its own."""


def listen() -> None:
    """Has SIGINT and SIGTERM raise a `SignalError` from now on."""
    _received.clear()
    for signum in STOPPING:
        signal.signal(signum, _stop)


def ended() -> None:
    """Has both signals ignored from now on, because everything is done and said."""
    _received.clear()
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_IGN)


def received() -> list[int]:
    """Returns the first signal that came outside of a training or a sweep, or nothing."""
    return _received[:1]


@contextlib.contextmanager
def resumable(directory: pathlib.Path) -> Iterator[None]:
    """Treats what happens after a signal, or once nobody reads stdout, as an interruption of what is in a workdir.

    Raises:
      InterruptedTrainingError: a signal came, and no training or sweep handled it; or stdout was closed.
    """
    try:
        yield
    except InterruptedTrainingError:
        raise
    except BrokenPipeError as error:
        if not stdout_is_closed():
            raise
        where = "because stdout was closed; what was saved is intact"
        raise InterruptedTrainingError(signal.SIGPIPE, where, directory) from error
    except BaseException as error:  # A library may have made another error of it.
        if not _received:
            raise
        raise InterruptedTrainingError(_received[0], "between two saves; everything is saved", directory) from error


def stdout_is_closed() -> bool:
    """Tells whether nobody reads stdout any more."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # It is none of the system's, as in a notebook.
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _stop(signum: int, frame: object) -> None:
    global _last
    # A process may be signalled twice: by itself, and with its process group.
    if not _received or time.monotonic() > _last + 1:
        _last = time.monotonic()
        _received.append(signum)
        raise SignalError
