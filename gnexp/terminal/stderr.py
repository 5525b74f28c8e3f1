"""Redirects the output of C++ code, and of whole processes, to a log."""

import contextlib
import io
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import TextIO


class _Stderr(io.TextIOBase):
    """What `sys.stderr` is meanwhile, and Python's own stderr again afterwards.

    Whoever has kept it, such as a logger that was made within, can go on writing.
    """

    def __init__(self, terminal: TextIO, afterwards: TextIO):
        super().__init__()
        self._terminal, self._afterwards = terminal, afterwards

    @property
    def _stream(self) -> TextIO:
        return self._afterwards if self._terminal.closed else self._terminal

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()


@contextlib.contextmanager
def native_stderr(path: pathlib.Path) -> Iterator[None]:
    """Appends what C++ code writes to stderr to a file; Python's own stderr is not redirected.

    TensorFlow 2.21 prints a screenful when it starts, whatever TF_CPP_MIN_LOG_LEVEL says
    (tensorflow/tensorflow#100442).
    """
    with path.open("ab") as file:
        sys.stderr.flush()
        python_stderr = sys.stderr
        with os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace") as terminal:
            if _writes_to(2, python_stderr):  # A notebook's writes elsewhere.
                sys.stderr = _Stderr(terminal, python_stderr)
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(terminal.fileno(), 2)
                sys.stderr = python_stderr


def _writes_to(descriptor: int, stream: TextIO) -> bool:
    try:
        return stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError):
        return False


@contextlib.contextmanager
def everything(path: pathlib.Path) -> Iterator[None]:
    """Appends everything that this process writes to stdout and stderr, its C++ code included, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    streams = {1: sys.stdout, 2: sys.stderr}
    former = {descriptor: os.dup(descriptor) for descriptor in streams}
    with path.open("ab") as file:
        for descriptor, stream in streams.items():
            stream.flush()
            os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        for descriptor, stream in streams.items():
            stream.flush()
            os.dup2(former[descriptor], descriptor)
            os.close(former[descriptor])
