"""Runs one of a sweep's trials on a Ray node.

This module imports little: a task's environment must be set before TensorFlow, JAX and Keras are imported.
"""

import functools
import json
import os
import pathlib
import pickle
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from gnexp.config.stored import with_tuples
from gnexp.errors import InterruptedTrainingError, UserError
from gnexp.sweeps.trial_console import LASTING, TrialConsole
from gnexp.terminal.stderr import everything
from gnexp.workdir import files
from gnexp.workdir.files import BACKEND_LOG

STARTING = "starting"  # begins the first message of a trial's process


class Progress:
    """Collects how far running trials are, for the driver to read: an actor on the driver's node."""

    def __init__(self):
        self._news: dict[str, list[str]] = {}

    def say(self, trial_id: str, text: str) -> None:
        """Records how far a trial is, in place of what it said before; what lasts, and a start, is kept."""
        said = self._news.setdefault(trial_id, [])
        if said and not said[-1].startswith((STARTING, LASTING)):
            said.pop()
        said.append(text)

    def take(self) -> dict[str, list[str]]:
        """Returns the news since the last call, by trial id: every start, and how far the trial is now."""
        news, self._news = self._news, {}
        return news


def run(
    trial_id: str,
    task: bytes,
    directory: pathlib.Path,
    sweep: str,
    data: Mapping[str, Any],
    environment: Mapping[str, str],
    folders: Sequence[str],
    progress: Any,
) -> Any:
    """Runs a trial, or resumes it where another process stopped.

    Args:
      trial_id: its name.
      task: its `trial.Task`, pickled, because unpickling it imports Keras.
      directory: the sweep's workdir.
      sweep: its `dashboard.sweep_name` on the driver's machine, which must be the same here.
      data: the sweep's config.data.
      environment: variables to set first.
      folders: where the driver finds the user's modules.
      progress: the handle of the sweep's `Progress`.

    Returns:
      The task's `trial.Done`, or what `trial.run` raised for a reason outside of the trial. It is not raised here,
      because Ray would wrap it.
    """
    progress.say.remote(trial_id, f"{STARTING} on {platform.node()}")
    os.environ.update(environment)
    try:
        _check_shared(directory, sweep)
        # Each process has its own log, because one that was given up may still be writing.
        log = f"{pathlib.Path(BACKEND_LOG).stem}-{platform.node()}-{os.getpid()}.log"
        with everything(files.trial_folder(directory, trial_id) / log):
            from gnexp.sweeps import trial
            from gnexp.training.signals import stop_signals
            from gnexp.workdir import code
            from gnexp.workdir import data as recorded

            def say(text: str) -> None:
                progress.say.remote(trial_id, text)

            with stop_signals(directory):
                read = pickle.loads(task)
                code.use(directory, read.config, folders)
                splits = _splits(json.dumps(data))
                recorded.check(directory, splits.fingerprint)
                return trial.run(read, splits, TrialConsole(say, read.epochs), _kept())
    except (InterruptedTrainingError, UserError, OSError) as error:
        return error


def _check_shared(directory: pathlib.Path, sweep: str) -> None:
    from gnexp.sweeps import dashboard

    if dashboard.sweep_name(directory) != sweep:
        raise UserError(
            f"{platform.node()} does not find the sweep in {directory}: with config.sweep.executor='ray' the workdir "
            "must be on a file system that every node of the cluster shares"
        )


@functools.cache
def _kept() -> Any:
    """Returns the network of the process's earlier trials: Ray gives a process several."""
    from gnexp.training.traced import Kept

    return Kept()


@functools.lru_cache(maxsize=1)
def _splits(data: str) -> Any:
    from gnexp.data.load import load

    try:
        return load(ConfigDict(with_tuples(json.loads(data))))
    except UserError as error:
        raise UserError(f"{platform.node()}: {error}") from error
