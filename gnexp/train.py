"""Runs the training or the sweep of a config, and logs everything to TensorBoard.

  python -m gnexp.train --config=configs/fmnist.py
  python -m gnexp.train --config=configs/fmnist.py --config.model.groups=4 --workdir=runs/groups-4

The same command with the same --workdir resumes where it stopped, whatever stopped it.
"""

import os
import pathlib

from absl import app, flags
from ml_collections import ConfigDict

from gnexp.config.stored import record, resume_config
from gnexp.data.load import available, load
from gnexp.data.splits import Splits
from gnexp.errors import UserError
from gnexp.space.parse import parse_space
from gnexp.sweeps.executors import checks
from gnexp.terminal import command_line, exit
from gnexp.terminal.stderr import native_stderr
from gnexp.training import console
from gnexp.workdir import files, folder, result

_SHOWN_BY_DRY_RUN = 10


def train(asked: ConfigDict, directory: pathlib.Path | None, ray_address: str | None = None) -> None:
    """Runs a valid config in `directory`, by default a new folder under runs/, and prints how it went.

    Args:
      asked: the config of this command, with or without a sweep.
      directory: the workdir; a training or a sweep that is there is resumed.
      ray_address: a Ray cluster for the sweep's trials; None starts one where the config's executor is "ray".

    Raises:
      GnexpError: the training or the sweep cannot run, failed, or was stopped.
    """
    checks.check(asked, ray_address)
    stored = folder.check(directory) if directory else None
    if stored:
        config, why = resume_config(asked, stored), "The workdir began with that dataset; another needs a new one.\n"
    else:
        dataset, why = available(asked.data)
        config = record(asked, dataset)
    fell_back = config.data.name != asked.data.name
    if fell_back:
        console.fell_back(asked.data.name, config.data.name, why)
    # The data is read first, so that a mistake in it is reported before anything is written.
    finished = "sweep" not in config and directory and result.finished(directory)
    splits = None if finished else load(config.data)
    directory = directory or folder.fresh(pathlib.Path("runs"), config)
    with folder.opened(directory, config) as config:
        if "sweep" in config:
            _sweep(config, splits, directory, ray_address)
        else:
            _training(config, splits, directory)
    if fell_back:
        console.fell_back(asked.data.name, config.data.name)


def _training(config: ConfigDict, splits: Splits | None, directory: pathlib.Path) -> None:
    done = result.finished(directory)
    if done:  # The summary shows its figures.
        result.check_history(directory / files.RESULT, done.history)
    print(f"workdir: {directory}" + (" (finished already)" if done else ""), flush=True)
    if not done:
        with native_stderr(directory / files.BACKEND_LOG):
            from gnexp.training import run  # Imports TensorFlow, for seconds: report mistakes before.

            done = run.train(config, splits, directory)
    folder.remove_checkpoint(directory)
    console.summary(done, directory)


def _sweep(config: ConfigDict, splits: Splits, directory: pathlib.Path, ray_address: str | None) -> None:
    from gnexp.analysis.sweep import read_trials  # Imports SciPy, for a second.

    read_trials(directory)  # A damaged file is reported before TensorFlow is imported.
    print(f"workdir: {directory}", flush=True)
    with native_stderr(directory / files.BACKEND_LOG):
        from gnexp.sweeps import sweep

        sweep.run(config, splits, directory, ray_address)


def _dry_run(config: ConfigDict, directory: pathlib.Path | None) -> None:
    if "sweep" not in config:
        raise UserError("--dry_run is for a config with a sweep: this one has none")
    if directory and (stored := folder.check(directory)):
        resume_config(config, stored)
        from gnexp.analysis.sweep import read_trials

        print(f"{directory} holds {len(read_trials(directory))} of these trials already\n")
    with native_stderr(pathlib.Path(os.devnull)):
        from gnexp.sweeps.console import dry_run
        from gnexp.sweeps.oracles.create import first_trials

        space = parse_space(config)
        dry_run(config, space, first_trials(config, space, _SHOWN_BY_DRY_RUN))


def _run(_: list[str]) -> None:
    config, given = flags.FLAGS.config, flags.FLAGS.workdir
    directory = None if given is None else pathlib.Path(given).expanduser()
    if flags.FLAGS.dry_run:
        _dry_run(config, directory)
    else:
        train(config, directory, flags.FLAGS.ray_address)


def _main() -> None:
    command_line.define()
    flags.DEFINE_string("workdir", None, "Where everything goes; by default a new folder under runs/.")
    flags.DEFINE_string("ray_address", None, "HOST:PORT of a Ray cluster, or auto; by default one is started.")
    flags.DEFINE_bool("dry_run", False, "Only say what a sweep would search, and its first trials.")
    command_line.show_in_help("config", "version")
    app.run(_run, flags_parser=command_line.parse)


def main() -> None:
    """Runs the command line; see the module's docstring."""
    exit.run(_main)


if __name__ == "__main__":
    main()
