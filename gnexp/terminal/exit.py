"""How a command ends: every error as one line on stderr and an exit code."""

import errno
import importlib.metadata
import sys
from collections.abc import Callable

from absl import flags

from gnexp.errors import GnexpError, InterruptedTrainingError, one_line
from gnexp.terminal import command_line


def run(main: Callable[[], None]) -> None:
    """Runs a command, and exits with one line on stderr after a `GnexpError`, an `OSError` or Ctrl-C.

    Gives the command --version, and lets --help end with 0, where absl ends with 1.
    """
    if "--version" in sys.argv[1:]:
        print(f"gnexp {version()}")
        return
    try:
        flags.DEFINE_bool("version", False, "Print the version, and do nothing else.")
        main()
    except SystemExit as error:
        if error.code == 1 and command_line.asks_for_help(sys.argv):
            sys.exit(0)
        raise
    except KeyboardInterrupt:  # before there was anything to save
        print("gnexp: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except (GnexpError, OSError) as error:
        print(f"gnexp: {_message(error)}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


def version() -> str:
    """Returns the version of gnexp, or "(not installed)" for a copy that is only on the path."""
    try:
        return importlib.metadata.version("gnexp")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _message(error: GnexpError | OSError) -> str:
    if isinstance(error, InterruptedTrainingError):
        return f"{error}. To resume: {command_line.same_command(error.directory)}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: what was saved is intact; free some space and run the same command again"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return one_line(error)
