"""Trains what a config says, and logs everything to TensorBoard.

  python -m gnexp.train --config=configs/fmnist.py
  python -m gnexp.train --config=configs/fmnist.py --config.model.groups=4 --workdir=runs/groups-4

The same command with the same --workdir goes on where it was stopped, however it was stopped.
"""

import errno
import itertools
import pathlib
import re
import shlex
import sys

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from gnexp import config as configs
from gnexp import console, data, result, workdir
from gnexp.errors import GnexpError, InterruptedTrainingError, UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="The experiment, a file of configs/. Any value in it can be changed: --config.model.groups=4"
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything goes; by default a new folder under runs/.")


def train(config: ConfigDict, directory: pathlib.Path | None) -> None:
    """Trains a valid config in `directory`, by default a new one under runs/, and says how it went."""
    asked, why = config.data.name, "as when this training began"
    if stored := workdir.check(directory) if directory else None:
        config = configs.settle(config, stored)
    else:
        config.data.name, why = data.available(config.data)
    if config.data.name != asked:
        console.fell_back(asked, config.data.name, why)
    directory = directory or workdir.fresh(pathlib.Path("runs"), config)
    with workdir.locked(directory):
        done = result.finished(directory)
        print(f"workdir: {directory}" + (" (finished already)" if done else ""), flush=True)
        if not done:
            done = _run(config, directory)
    console.summary(done, directory)
    if config.data.name != asked:
        console.fell_back(asked, config.data.name, why)


def _run(config: ConfigDict, directory: pathlib.Path) -> result.Result:
    with console.native_stderr(directory / workdir.BACKEND_LOG):
        from gnexp import trial  # Costs seconds: TensorFlow. Every mistake of the user's is answered before.

        try:
            return trial.run(config, directory)
        except InterruptedTrainingError as error:
            error.args = (f"{error}. To go on: {_command(directory)}",)
            raise


def _command(directory: pathlib.Path) -> str:
    arguments = sys.argv[1:] + ([] if _WORKDIR.value else [f"--workdir={directory}"])
    return "python -m gnexp.train " + shlex.join(arguments)


def _parse(argv: list[str]) -> list[str]:
    """Reads the command line; every mistake in it, or in the config file, is a UserError."""
    _check_flags(argv)
    try:
        rest = flags.FLAGS(argv)
    except flags.IllegalFlagValueError as error:
        if value := re.match(r"flag --(config\.([\w.]+)=.*?): ", str(error)):
            raise UserError(f"{value[1]} is not allowed: it must be {configs.FIELDS[value[2]].allowed}") from error
        raise _unreadable(error) from error
    except flags.Error as error:
        raise UserError(str(error)) from error
    except Exception as error:  # The config file is somebody's program: it may raise anything.
        raise _unreadable(error) from error
    if not flags.FLAGS["config"].present:
        raise UserError("--config is missing: it must be the path of a config file, such as configs/fmnist.py")
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: flags are --config=FILE, --config.KEY=VALUE and --workdir=FOLDER")
    configs.validate(_CONFIG.value)
    return rest


def _check_flags(argv: list[str]) -> None:
    """Refuses what ml_collections would answer with many lines: an unknown key, a config file that is not there."""
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        if (named := re.match(r"--?(?:no)?config\.([^=]+)", argument)) and named[1] not in configs.FIELDS:
            raise configs.unknown_key(named[1])
        if given := re.fullmatch(r"--?config(?:=(.*))?", argument):
            path = (following if given[1] is None else given[1]).partition(":")[0]
            if not pathlib.Path(path).is_file():
                raise UserError(f"--config={path} is not allowed: there is no such file")


def _unreadable(error: Exception) -> UserError:
    name = "" if isinstance(error, flags.Error) else f"{type(error).__name__}: "
    # ml_collections puts the whole traceback into its message; what went wrong stands in its last line.
    return UserError(f"--config cannot be read: {name}{str(error).strip().splitlines()[-1]}")


def _one_line(error: Exception) -> str | None:
    """Returns what to say of an error that is not a bug of ours, None for one that is."""
    if isinstance(error, GnexpError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: what was saved stays good; make room and run the same command again"
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return f"{error.filename} cannot be written: {error.strerror}"
    return None


def main() -> None:
    """Runs the command line; see the module's docstring."""
    try:
        app.run(lambda _: train(_CONFIG.value, _WORKDIR.value and pathlib.Path(_WORKDIR.value)), flags_parser=_parse)
    except KeyboardInterrupt:
        sys.exit(130)
    except (GnexpError, OSError) as error:
        if (line := _one_line(error)) is None:
            raise
        print(f"gnexp: {line}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


if __name__ == "__main__":
    main()
