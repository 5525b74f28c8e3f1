"""Trains what a config says, and logs everything to TensorBoard.

  python -m gnexp.train --config=configs/fmnist.py
  python -m gnexp.train --config=configs/fmnist.py --config.model.groups=4 --workdir=runs/groups-4

The same command with the same --workdir goes on where it was stopped, however it was stopped.
"""

import errno
import importlib.util
import itertools
import os
import pathlib
import re
import shlex
import socket
import sys

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from gnexp import config as configs
from gnexp import console, data, result, space, workdir
from gnexp.errors import GnexpError, InterruptedTrainingError, UserError

_SHOWN_BY_DRY_RUN = 10


def train(asked: ConfigDict, directory: pathlib.Path | None, ray_address: str | None = None) -> None:
    """Trains a valid config in `directory`, by default a new one under runs/, and says how it went."""
    _check_ray(asked, ray_address)
    stored = workdir.check(directory) if directory else None
    if stored:
        config, why = configs.settle(asked, stored), "As when it began; for another dataset name another --workdir.\n"
    else:
        dataset, why = data.available(asked.data)
        config = configs.record(asked, dataset)
    fell_back = config.data.name != asked.data.name
    if fell_back:
        console.fell_back(asked.data.name, config.data.name, why)
    # Whatever is wrong with the data is found before anything is written.
    finished = "sweep" not in config and directory and result.finished(directory)
    splits = None if finished else data.load(config.data)
    directory = directory or workdir.fresh(pathlib.Path("runs"), config)
    with workdir.opened(directory, config) as config:
        if "sweep" in config:
            _sweep(config, splits, directory, ray_address)
        else:
            _training(config, splits, directory)
    if fell_back:
        console.fell_back(asked.data.name, config.data.name)


def _training(config: ConfigDict, splits: data.Splits | None, directory: pathlib.Path) -> None:
    done = result.finished(directory)
    print(f"workdir: {directory}" + (" (finished already)" if done else ""), flush=True)
    if not done:
        with console.native_stderr(directory / workdir.BACKEND_LOG):
            from gnexp import trial  # Costs seconds: TensorFlow. Every mistake of the user's is answered before.

            done = trial.run(config, splits, directory)
    workdir.clean(directory)
    console.summary(done, directory)


def _check_ray(config: ConfigDict, address: str | None) -> None:
    """Answers at once what Ray would say after a minute, or never."""
    wanted = "sweep" in config and config.sweep.executor == "ray"
    if wanted and not importlib.util.find_spec("ray"):
        raise UserError("config.sweep.executor='ray' needs Ray, which is not installed: pip install -e '.[ray]'")
    if address is None:
        return
    if not wanted:
        raise UserError(f"--ray_address={address} is for a sweep with --config.sweep.executor=ray")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--ray_address={address} is not allowed: it must be HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError as error:
        raise UserError(f"--ray_address={address}: there is no Ray ({error.strerror or error})") from error


def _sweep(config: ConfigDict, splits: data.Splits, directory: pathlib.Path, ray_address: str | None) -> None:
    print(f"workdir: {directory}", flush=True)
    with console.native_stderr(directory / workdir.BACKEND_LOG):
        from gnexp import sweep

        sweep.run(config, splits, directory, ray_address)


def _dry_run(config: ConfigDict, directory: pathlib.Path | None) -> None:
    if "sweep" not in config:
        raise UserError("--dry_run is for a config with a sweep: this one has none")
    if directory and (stored := workdir.check(directory)):
        configs.settle(config, stored)
        from gnexp import outcomes  # Costs a second: SciPy.

        print(f"{directory} holds {len(outcomes.read(directory))} of these trials already\n")
    with console.native_stderr(pathlib.Path(os.devnull)):
        from gnexp import oracles

        found = space.parse(config)
        console.dry_run(config, found, oracles.first(config, found, _SHOWN_BY_DRY_RUN))


def _parse(argv: list[str]) -> list[str]:
    """Reads the command line; every mistake in it, or in the config file, is a UserError."""
    logging.set_verbosity(logging.ERROR)  # ml_collections would warn of what is refused below in better words.
    try:
        rest = flags.FLAGS(argv)
    except SystemExit as error:
        if any(re.match(r"--?help", argument) for argument in argv):
            sys.exit(0)  # absl ends with 1
        raise _unreadable(error) from error
    except flags.IllegalFlagValueError as error:
        value = re.match(r"flag --(config\.([\w.]+)=.*?): ", str(error))
        if value and configs.is_of_space(value[2]):
            hint = f"it is an entry; name a part of it, such as config.{value[2]}.values"
            raise UserError(f"{value[1]} is not allowed: {hint}") from error
        if not str(error).startswith("flag --config"):
            raise UserError(str(error)) from error
        if value and value[2] in configs.FIELDS:
            raise UserError(f"{value[1]} is not allowed: it must be {configs.FIELDS[value[2]].allowed}") from error
        raise _unreadable(error) from error
    except flags.Error as error:
        raise UserError(str(error)) from error
    except (AttributeError, KeyError) as error:
        raise _not_there(argv, error) from error
    except Exception as error:  # The config file is somebody's program: it may raise anything.
        raise _unreadable(error) from error
    if not flags.FLAGS["config"].present:
        raise UserError("--config is missing: it must be the path of a config file, such as configs/fmnist.py")
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: flags are --config=FILE, --config.KEY=VALUE and --workdir=FOLDER")
    config = flags.FLAGS.config
    configs.validate(config)
    if "sweep" in config:
        searched = space.parse(config).paths
        for path in searched:
            if f"config.{path}" in flags.FLAGS and flags.FLAGS[f"config.{path}"].present:
                raise UserError(f"config.{path} is searched: change config.sweep.space.{path} instead")
    return rest


def _check_flags(argv: list[str]) -> None:
    """Refuses what absl and ml_collections would answer with many lines, or not at all."""
    seen = set()
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        if argument.startswith(("--flagfile", "-flagfile")):
            raise UserError(f"{argument} is not allowed: a config file is the place for many values")
        if named := re.match(r"--?(?:no)?config\.([^=]*)", argument):
            if named[1] not in configs.FIELDS and not configs.is_of_space(named[1]):
                raise configs.unknown_key(named[1])
            # Of a tuple, absl would join both to one that is longer.
            if named[1].endswith(("model.filters", ".values")) and named[1] in seen:
                raise UserError(f"--config.{named[1]} is given twice")
            seen.add(named[1])
        elif given := re.fullmatch(r"--?config(?:=(.*))?", argument):
            path = (following if given[1] is None else given[1]).partition(":")[0]
            if not pathlib.Path(path).is_file():
                raise UserError(f"--config={path} is not allowed: there is no such file")
            if "" in seen:
                raise UserError("--config is given twice")
            seen.add("")
            # So that a config that starts from another of its folder works from anywhere.
            sys.path.append(str(pathlib.Path(path).absolute().parent.parent))


def _not_there(argv: list[str], error: AttributeError | KeyError) -> UserError:
    """Returns the error for a flag of a sweep's key that the config lacks, or that its file raised another."""
    missing = re.match(r"\W*(\w+)", str(error.args[0] if error.args else ""))
    for argument in argv:
        keys = re.match(r"--?(?:no)?config\.(sweep\.[^=]*)", argument)
        if missing and keys and missing[1] in keys[1].split("."):
            where = "config.sweep.space has no such entry" if missing[1] != "sweep" else "the config has no sweep"
            return UserError(f"{argument} is not allowed: {where}")
    return _unreadable(error)


def _unreadable(error: BaseException) -> UserError:
    name = "" if isinstance(error, flags.Error) else f"{type(error).__name__}: "
    # ml_collections puts the whole traceback into its message; what went wrong stands in its last line.
    last = str(error).strip().rpartition("\n")[2]
    return UserError(f"--config cannot be read: {name}{last}")


def _one_line(error: GnexpError | OSError) -> str:
    if isinstance(error, InterruptedTrainingError):
        return f"{error}. To go on: {_same_command(error.directory)}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: what was saved stays good; make room and run the same command again"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _same_command(directory: pathlib.Path) -> str:
    names = ("KERAS_BACKEND", "GNEXP_DATA_DIR")
    environment = [f"{name}={shlex.quote(os.environ[name])}" for name in names if os.environ.get(name)]
    arguments = sys.orig_argv + ([] if flags.FLAGS.workdir else [f"--workdir={directory}"])
    return " ".join([*environment, shlex.join(arguments)])


def _run() -> None:
    config, given = flags.FLAGS.config, flags.FLAGS.workdir
    directory = None if given is None else pathlib.Path(given).expanduser()
    if flags.FLAGS.dry_run:
        _dry_run(config, directory)
    else:
        train(config, directory, flags.FLAGS.ray_address)


def main() -> None:
    """Runs the command line; see the module's docstring."""
    try:
        backend = os.environ.get("KERAS_BACKEND", configs.BACKENDS[0])
        if backend not in configs.BACKENDS:
            raise UserError(f"KERAS_BACKEND={backend} is not allowed: it must be {' or '.join(configs.BACKENDS)}")
        _check_flags(sys.argv[1:])
        config_flags.DEFINE_config_file(
            "config",
            help_string="The experiment; --config.KEY=VALUE changes a value (configs/fmnist.py lists them all).",
        )
        flags.DEFINE_string("workdir", None, "Where everything goes; by default a new folder under runs/.")
        flags.DEFINE_string("ray_address", None, "HOST:PORT of a Ray cluster; by default one is started.")
        flags.DEFINE_bool("dry_run", False, "Only say what a sweep would search, and its first trials.")
        app.run(
            lambda _: _run(),
            flags_parser=_parse,
        )
    except KeyboardInterrupt:  # before the training began, so there is nothing to save
        print("gnexp: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except (GnexpError, OSError) as error:
        print(f"gnexp: {_one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


if __name__ == "__main__":
    main()
