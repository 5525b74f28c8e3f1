"""How a command can fail: each error is one line on stderr and an exit code, never a traceback."""

import pathlib
import signal

_LONGEST_REASON = 200


class GnexpError(Exception):
    """Base class of every error that is not a bug in gnexp.

    Attributes:
      exit_code: the exit code of the process.
    """

    exit_code = 1


class UserError(GnexpError):
    """A mistake that its user can fix; the message names the key, the value and what is allowed."""

    exit_code = 2


class InUseError(UserError):
    """Another process holds a workdir."""


class FunctionError(GnexpError):
    """A function of the user's, such as one that builds a network, failed or returned what cannot be used.

    It is not a `UserError`, because in a sweep it is one trial's: another has other arguments.
    """

    exit_code = 2


class DamagedError(UserError):
    """A file of a workdir does not hold what gnexp wrote there.

    Attributes:
      path: the file.
      why: what is wrong with it, in a few words.
    """

    def __init__(self, path: pathlib.Path, why: object, remedy: str = "restore it, or choose another --workdir"):
        self.path, self.why, self.remedy = path, one_line(why)[:_LONGEST_REASON], remedy
        super().__init__(f"{path} is damaged ({self.why}): {remedy}")

    def __reduce__(self):
        """Lets the error be pickled: `Exception.__reduce__` would give the constructor only the message."""
        return type(self), (self.path, self.why, self.remedy)


class DivergedError(GnexpError):
    """The loss is NaN or infinite."""


class KilledError(GnexpError):
    """The process that a trial ran in was killed, and so was every process that took the trial over."""


class InterruptedTrainingError(GnexpError):
    """A signal stopped the training; the same command resumes it.

    Attributes:
      signum: the signal's number.
      where: in words, how far the training had got.
      directory: the training's workdir.
    """

    def __init__(self, signum: int, where: str, directory: pathlib.Path):
        super().__init__(f"stopped by {signal.Signals(signum).name} {where}")
        self.exit_code = 128 + signum
        self.signum = signum
        self.where = where
        self.directory = directory

    def __reduce__(self):
        """Lets the error be pickled: `Exception.__reduce__` would give the constructor only the message."""
        return type(self), (self.signum, self.where, self.directory)


def one_line(error: object) -> str:
    """Returns an error's message as one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def first_line(error: object) -> str:
    """Returns the first line of another library's error message, which states the cause."""
    return str(error).strip().partition("\n")[0].strip()


def last_line(error: object) -> str:
    """Returns the last line of an error message that holds a whole traceback."""
    return str(error).strip().rpartition("\n")[2].strip()
