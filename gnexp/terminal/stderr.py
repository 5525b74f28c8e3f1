"""Redirects the output of C++ code, and of whole processes, to a log."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def native_stderr(path: pathlib.Path) -> Iterator[None]:
    """Appends what C++ code writes to stderr to a file; Python's own stderr is not redirected.

    TensorFlow 2.21 prints a screenful when it starts, whatever TF_CPP_MIN_LOG_LEVEL says
    (tensorflow/tensorflow#100442).
    """
    with path.open("ab") as file:
        sys.stderr.flush()
        terminal, python_stderr = os.dup(2), sys.stderr
        with os.fdopen(terminal, "w", buffering=1, errors="backslashreplace") as sys.stderr:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(terminal, 2)
                sys.stderr = python_stderr


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
