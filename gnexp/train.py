"""Runs the training or the sweep of a config, and logs everything to TensorBoard.

  python -m gnexp.train --config=configs/fmnist.py
  python -m gnexp.train --config=configs/fmnist.py --config.model.groups=4 --workdir=runs/groups-4

The same command with the same --workdir resumes where it stopped, whatever stopped it.
"""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import TypeVar

from absl import app, flags
from ml_collections import ConfigDict

from gnexp.config import beginning
from gnexp.config.stored import record, resume_config
from gnexp.config.validation import validate
from gnexp.data.load import available, load
from gnexp.data.splits import Splits
from gnexp.errors import UserError
from gnexp.functions.load import watched
from gnexp.space import remarks
from gnexp.space.parse import parse_space
from gnexp.sweeps.executors import checks
from gnexp.terminal import command_line, exit, limits, places, signals
from gnexp.terminal.stderr import native_stderr
from gnexp.training import console, memory
from gnexp.workdir import code, data, files, folder, result
from gnexp.workdir.result import Result

_Returned = TypeVar("_Returned")
_SHOWN_BY_DRY_RUN = 10
_BATCH = "data.batch_size"


def train(
    asked: ConfigDict,
    directory: pathlib.Path | None,
    ray_address: str | None = None,
    allow_changed_code: bool = False,
) -> pathlib.Path:
    """Runs a config in `directory`, by default a new folder under runs/, and prints how it went.

    Args:
      asked: the config of this command, with or without a sweep.
      directory: the workdir; a training or a sweep that is there is resumed.
      ray_address: a Ray cluster for the sweep's trials; None starts one where the config's executor is "ray".
      allow_changed_code: whether the user's code may differ from that with which the workdir began.

    Returns:
      The workdir.

    Raises:
      GnexpError: the config is not valid; the training or the sweep cannot run, failed, or was stopped.
    """
    limits.check()
    validate(asked)
    checks.check(asked, ray_address)
    for each in memory.largest(asked):
        memory.check_at_once(each)
    stored = folder.check(directory) if directory else None
    if stored:
        config, why = resume_config(asked, stored), "The workdir began with that dataset; another needs a new one.\n"
        folder.check_backend(directory, config, stored)
    else:
        beginning.check(asked)
        dataset, why = available(asked.data)
        config = record(asked, dataset)
    fell_back = config.data.name != asked.data.name
    if fell_back:
        console.fell_back(asked.data.name, config.data.name, why)
    done = stored and "sweep" not in config and result.finished(directory)
    if done:
        _show(done, directory)
    else:
        directory = _work(config, directory, ray_address, allow_changed_code, begins=stored is None)
    if fell_back:
        console.fell_back(asked.data.name, config.data.name)
    return directory


def _work(
    config: ConfigDict, directory: pathlib.Path | None, ray_address: str | None, allow_changed: bool, begins: bool
) -> pathlib.Path:
    # The data is read and the network built first, so that a mistake is reported before anything is written.
    source = code.of(config, directory)
    changed = code.changes(directory, source, allow_changed) if directory else []
    with watched(source.functions.values()):
        splits, log = _logged(lambda: load(config.data))
        if directory:
            data.check(directory, splits.fingerprint)
        if begins:
            _check_batches(config, splits)
        network, more = _logged(lambda: _check(config, splits))
    if begins:
        source = code.of(config)
    directory = directory or folder.fresh(pathlib.Path("runs"), config)
    with signals.resumable(directory), folder.opened(directory, config) as config:
        code.keep(directory, source, changed)
        data.keep(directory, splits.fingerprint)
        with (directory / files.BACKEND_LOG).open("a") as file:
            file.write(log + more)
        if "sweep" in config:
            _sweep(config, splits, directory, ray_address, network)
        else:
            _training(config, splits, directory, network)
    return directory


def _check_batches(config: ConfigDict, splits: Splits) -> None:
    """Refuses a batch of more images than there are: a typing error, or a share of the images that is too small."""
    count, where, sizes = len(splits.train), "config.data.batch_size", [config.data.batch_size]
    if "sweep" in config and (entries := [each for each in parse_space(config).entries if each.path == _BATCH]):
        where, sizes = f"config.sweep.space.{_BATCH}", [size for each in entries for size in each.checked()]
    if max(sizes) > count:
        raise UserError(
            f"{where}={max(sizes)} is not allowed: there are {count} images of {config.data.name} to train on"
        )


def _logged(function: Callable[[], _Returned]) -> tuple[_Returned, str]:
    """Calls a function that may import a backend; returns what it does, and what C++ code wrote to stderr meanwhile."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        with native_stderr(pathlib.Path(log.name)):
            returned = function()
        return returned, log.read()


def _check(config: ConfigDict, splits: Splits) -> str:
    """Checks the networks; returns one of them in words."""
    from gnexp.training import check  # Imports TensorFlow, for seconds: report mistakes before.

    model = check.check(config, splits, parse_space(config) if "sweep" in config else None)
    return f"network: {check.in_words(model, config)}"


def _training(config: ConfigDict, splits: Splits, directory: pathlib.Path, network: str) -> None:
    done = result.finished(directory)  # by another process, in the last second
    if not done:
        print(f"workdir: {directory}\n{network}", flush=True)
        _remark([*splits.remarks, *remarks.of(config, len(splits.train))], directory)
        with native_stderr(directory / files.BACKEND_LOG):
            from gnexp.training import run

            done = run.train(config, splits, directory)
        folder.remove_checkpoint(directory)
        console.summary(done, directory)
    else:
        _show(done, directory)


def _show(done: Result, directory: pathlib.Path) -> None:
    """Shows a training that has ended, also where nothing can be written any more."""
    result.check_history(directory / files.RESULT, done.history)  # The summary shows its figures.
    print(f"workdir: {directory} (finished already)", flush=True)
    with contextlib.suppress(OSError):
        folder.remove_checkpoint(directory)
    console.summary(done, directory)


def _sweep(config: ConfigDict, splits: Splits, directory: pathlib.Path, ray_address: str | None, network: str) -> None:
    from gnexp.analysis.sweep import read_trials  # Imports SciPy, for a second.

    read_trials(directory)  # A damaged file is reported before TensorFlow is imported.
    print(f"workdir: {directory}\n{network}", flush=True)
    _remark([*splits.remarks, *remarks.of(config, len(splits.train), parse_space(config))], directory)
    with native_stderr(directory / files.BACKEND_LOG):
        from gnexp.sweeps import sweep

        sweep.run(config, splits, directory, ray_address)


def _remark(lines: list[str], directory: pathlib.Path) -> None:
    """Prints remarks, and keeps them for the report."""
    if lines:
        files.write_json(directory / files.REMARKS, lines)
    for line in lines:
        print(f"note: {line}", flush=True)


def _dry_run(config: ConfigDict, directory: pathlib.Path | None) -> None:
    sweep = "sweep" in config
    for each in memory.largest(config):
        memory.check_at_once(each)
    stored = folder.check(directory) if directory else None
    if stored:
        folder.check_backend(directory, resume_config(config, stored), stored)
        if sweep:
            from gnexp.analysis.sweep import read_trials

            print(f"{directory} holds {len(read_trials(directory))} of these trials already\n")
    else:
        beginning.check(config)
    config = record(config, available(config.data)[0])
    with native_stderr(pathlib.Path(os.devnull)):
        splits = load(config.data)
        if not stored:
            _check_batches(config, splits)
        from gnexp.sweeps import console, dry_run
        from gnexp.sweeps.oracles.create import first_trials
        from gnexp.training import check

        space = parse_space(config) if sweep else None
        model = check.check(config, splits, space)
        first = first_trials(config, space, _SHOWN_BY_DRY_RUN) if sweep else []
        dry_run.network(config, model)
        if sweep:
            print()
            console.dry_run(config, space, first)
        for line in (*splits.remarks, *remarks.of(config, len(splits.train), space)):
            print(f"\nnote: {line}")
        dry_run.estimate(config, splits, space, first)


def _run(_: list[str]) -> None:
    config, given = flags.FLAGS.config, flags.FLAGS.workdir
    directory = None if given is None else places.expanded("--workdir", given)
    if flags.FLAGS.dry_run:
        limits.check()
        _dry_run(config, directory)
    else:
        train(config, directory, flags.FLAGS.ray_address, flags.FLAGS.allow_changed_code)


def _main() -> None:
    command_line.define()
    flags.DEFINE_string("workdir", None, "Where everything goes; by default a new folder under runs/.")
    flags.DEFINE_string("ray_address", None, "HOST:PORT of a Ray cluster, or auto; by default one is started.")
    flags.DEFINE_bool("dry_run", False, "Only show the config, the network, and what a sweep would search.")
    app.run(_run, flags_parser=command_line.parse)


def main() -> None:
    """Runs the command line; see the module's docstring."""
    exit.run(_main)


if __name__ == "__main__":
    main()
