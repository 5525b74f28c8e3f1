"""Trains what a config says, and logs everything to TensorBoard.

  python -m gnexp.train --config=configs/fmnist.py
  python -m gnexp.train --config=configs/fmnist.py --config.model.groups=4 --workdir=runs/groups-4

The same command with the same --workdir goes on where it was stopped, however it was stopped.
"""

import errno
import importlib.util
import os
import pathlib
import shlex
import socket
import sys

from absl import app, flags
from ml_collections import ConfigDict

from gnexp import command_line, console, data, result, workdir
from gnexp.config.stored import record, resume_config
from gnexp.errors import GnexpError, InterruptedTrainingError, UserError
from gnexp.space.parse import parse_space

_SHOWN_BY_DRY_RUN = 10


def train(asked: ConfigDict, directory: pathlib.Path | None, ray_address: str | None = None) -> None:
    """Trains a valid config in `directory`, by default a new one under runs/, and says how it went."""
    _check_executor(asked, ray_address)
    stored = workdir.check(directory) if directory else None
    if stored:
        config, why = resume_config(asked, stored), "As when it began; for another dataset name another --workdir.\n"
    else:
        dataset, why = data.available(asked.data)
        config = record(asked, dataset)
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


def _check_executor(config: ConfigDict, address: str | None) -> None:
    """Answers at once what Ray would say after a minute, or never."""
    if "sweep" in config and config.sweep.executor == "serial" and config.sweep.parallel > 1:
        raise UserError(
            f"config.sweep.parallel={config.sweep.parallel} is not allowed with config.sweep.executor='serial', which "
            "runs one trial at a time: add --config.sweep.executor=processes, or ray"
        )
    wanted = "sweep" in config and config.sweep.executor == "ray"
    if wanted and not importlib.util.find_spec("ray"):
        raise UserError("config.sweep.executor='ray' needs Ray, which is not installed: pip install -e '.[ray]'")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if wanted and address is None and config.sweep.resources.cpus > cpus:
        raise UserError(
            f"config.sweep.resources.cpus={config.sweep.resources.cpus} is not allowed: this machine has {cpus}; "
            "--ray_address=HOST:PORT names a cluster"
        )
    if address is not None and not wanted:
        raise UserError(f"--ray_address={address} is for a sweep with --config.sweep.executor=ray")
    if address in (None, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--ray_address={address} is not allowed: it must be HOST:PORT, or auto")
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
        resume_config(config, stored)
        from gnexp import outcomes  # Costs a second: SciPy.

        print(f"{directory} holds {len(outcomes.read(directory))} of these trials already\n")
    with console.native_stderr(pathlib.Path(os.devnull)):
        from gnexp import oracles

        found = parse_space(config)
        console.dry_run(config, found, oracles.first(config, found, _SHOWN_BY_DRY_RUN))


def _one_line(error: GnexpError | OSError) -> str:
    if isinstance(error, InterruptedTrainingError):
        return f"{error}. To go on: {_same_command(error.directory)}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: what was saved stays good; make room and run the same command again"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _same_command(directory: pathlib.Path) -> str:
    environment = [f"{name}={shlex.quote(value)}" for name, value in command_line.environment().items()]
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
        command_line.define()
        flags.DEFINE_string("workdir", None, "Where everything goes; by default a new folder under runs/.")
        flags.DEFINE_string("ray_address", None, "HOST:PORT of a Ray cluster, or auto; by default one is started.")
        flags.DEFINE_bool("dry_run", False, "Only say what a sweep would search, and its first trials.")
        app.run(
            lambda _: _run(),
            flags_parser=command_line.parse,
        )
    except KeyboardInterrupt:  # before the training began, so there is nothing to save
        print("gnexp: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except (GnexpError, OSError) as error:
        print(f"gnexp: {_one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


if __name__ == "__main__":
    main()
