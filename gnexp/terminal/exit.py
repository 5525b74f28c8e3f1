"""How a command ends: every error as one line on stderr and an exit code."""

import errno
import os
import shlex
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import flags

from gnexp import __version__
from gnexp.errors import GnexpError, InterruptedTrainingError, one_line
from gnexp.terminal import command_line, signals


def run(main: Callable[[], None]) -> None:
    """Runs a command, and exits with one line on stderr after a `GnexpError`, an `OSError`, Ctrl-C or SIGTERM.

    Gives the command --version, and lets --help end with 0, where absl ends with 1.
    """
    signals.listen()
    _open_streams()
    try:
        _run(main)
    finally:
        signals.ended()


def _open_streams() -> None:
    """Gives a process that was started without stdin, stdout or stderr one that leads nowhere, as its children need."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(descriptor)
            except OSError:
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # It is the lowest one that is free.
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def _run(main: Callable[[], None]) -> None:
    if "--version" in sys.argv[1:]:
        print(f"gnexp {__version__}")
        return
    try:
        flags.DEFINE_bool("version", False, "Print the version, and do nothing else.")
        main()
    except SystemExit as error:
        if error.code == 1 and command_line.asks_for_help(sys.argv):
            sys.exit(0)
        raise
    except InterruptedTrainingError as error:
        _fail(f"{error}. To resume: {command_line.same_command(error.directory)}", error.exit_code)
    except BaseException as error:
        if received := signals.received():  # before there was anything to save; a library may have changed the error
            name = signal.Signals(received[0]).name
            _fail(f"stopped by {name}. To run it again: {shlex.join(sys.orig_argv)}", 128 + received[0])
        if isinstance(error, MemoryError):
            _fail("out of memory", 1)
        if not isinstance(error, (GnexpError, OSError)):
            raise
        _fail(_message(error), error.exit_code if isinstance(error, GnexpError) else 2)


def _fail(message: str, code: int) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # Python would try it again at its end, and say so in several lines.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"gnexp: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def _message(error: GnexpError | OSError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: what was saved is intact; free some space and run the same command again"
    if isinstance(error, BrokenPipeError) and signals.stdout_is_closed():
        return "stdout was closed before all was said"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return one_line(error)
