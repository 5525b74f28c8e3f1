"""A sweep that is kept in memory, of which only the files that have changed are read again."""

import dataclasses
import os
import pathlib
import secrets
import threading
import time
from typing import Any

from ml_collections import ConfigDict

from gnexp.analysis.outcomes import PROMOTED_FROM, RUNNING, SEED, Outcome
from gnexp.analysis.sweep import Swept, read_sweep, read_trial, swept
from gnexp.board.folders import signature
from gnexp.config.stored import from_json
from gnexp.errors import DamagedError, UserError
from gnexp.space.parse import parse_space
from gnexp.space.space import Space
from gnexp.workdir import files
from gnexp.workdir.folder import read_config

_SECONDS = 0.2  # for which what was read counts as new: several panels ask at the same time
_LONGEST = 1.0  # seconds of reading, after which what is known by then is answered


@dataclasses.dataclass
class Kept:
    """A trial as it was read.

    Attributes:
      signature: of its files at that moment.
      outcome: the trial; its results have no history, which would fill the memory.
      epochs: how many each of its executions trained.
      ended: when its file in the oracle's folder was written, in seconds since 1970; None for a kept sweep.
      changed: the number of the refresh that read it.
    """

    signature: Any
    outcome: Outcome
    epochs: tuple[int, ...]
    ended: float | None
    changed: int


class Watched:
    """The sweep in a workdir.

    Attributes:
      directory: the workdir.
      trials: each trial as it was read, by id and in order.
      complete: whether all trials were read; otherwise the next refresh goes on.
      problems: what could not be read, by the name of what is damaged.
      bars: when the executions of each trial that has ended ran, the trial as it was then, and how
        many have none; `timeline` fills it.
      lock: held by whoever uses the sweep.
    """

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        self.lock = threading.RLock()
        self.bars: dict[str, tuple[Kept, list[dict[str, Any]], int]] = {}
        self._birth = secrets.token_hex(4)
        self._clear()
        self._read_at = -_SECONDS

    def _clear(self) -> None:
        self.trials: dict[str, Kept] = {}
        self.complete = False
        self.problems: dict[str, str] = {}
        self._damaged: dict[str, Any] = {}  # the signature of what a problem is about
        self._config: ConfigDict | None = None
        self._space: Space | None = None
        self._config_signature: Any = None
        self._number = 0
        self._swept: Swept | None = None

    @property
    def version(self) -> str:
        """Changes whenever anything was read again."""
        return f"{self._birth}.{self._number}"

    def since(self, version: str) -> list[Kept] | None:
        """Returns the trials that were read after a version, or None if that is not known."""
        birth, _, number = version.partition(".")
        if birth != self._birth or not number.isdigit():
            return None
        return [kept for kept in self.trials.values() if kept.changed > int(number)]

    def refresh(self) -> None:
        """Reads what has changed.

        Raises:
          LookupError: the workdir is not there any more.
          UserError: the config cannot be read.
        """
        with self.lock:
            if self.complete and time.monotonic() - self._read_at < _SECONDS:
                return
            self._refresh()
            self._read_at = time.monotonic()

    def _refresh(self) -> None:
        state = signature(self.directory / files.CONFIG), signature(self.directory / files.KEPT)
        if state != self._config_signature:
            self._clear()
            self._birth = secrets.token_hex(4)
            self._config, self._space = _config(self.directory)
            self._config_signature = state
            if state[1]:
                swept = read_sweep(self.directory)
                self.trials = {each.trial_id: _kept(each, state[1], None, 1) for each in swept.trials}
                self._number, self.complete = 1, True
        if not state[1]:
            self._read_trials()

    def _read_trials(self) -> None:
        number, before = self._number + 1, dict(self.problems)
        first = self._config.seed
        seeds = range(first, first + self._config.sweep.executions)
        folders = {folder.rpartition("trial_")[2]: folder for folder in _folders(self.directory / files.ORACLE)}
        self.complete, deadline = True, time.monotonic() + _LONGEST
        for trial_id, folder in sorted(folders.items()):
            path = f"{folder}/trial.json"
            state, known = signature(path), self.trials.get(trial_id)
            results = () if known and known.outcome.status != RUNNING else self._results(trial_id, seeds)
            if state is None or (known and known.signature == (state, results or known.signature[1])):
                continue
            if self._damaged.get(trial_id) == (state, results):
                continue
            if time.monotonic() > deadline:
                self.complete = False
                break
            try:
                outcome = read_trial(self.directory, pathlib.Path(path), seeds)
            except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
                self.problems[trial_id] = f"trial {trial_id} cannot be read: {error}"
                self._damaged[trial_id] = state, results
                continue
            self.problems.pop(trial_id, None)
            self._damaged.pop(trial_id, None)
            self.trials[trial_id] = _kept(outcome, (state, results), state[0] / 1e9, number)
        gone = self.trials.keys() - folders.keys()
        for trial_id in gone:
            del self.trials[trial_id]
        self.problems = {name: text for name, text in self.problems.items() if name in folders}
        if gone:  # No patch says that a trial is gone.
            self._birth = secrets.token_hex(4)
        if gone or before != self.problems or any(kept.changed == number for kept in self.trials.values()):
            self.trials = dict(sorted(self.trials.items()))
            self._number, self._swept = number, None

    def _results(self, trial_id: str, seeds: range) -> tuple:
        """Returns the signatures of what a running trial has finished, and of its checkpoints."""
        # As text: there are thousands of these, and making a Path takes longer than looking at the file.
        trial = files.trial_folder(self.directory, trial_id)
        folders = [str(files.execution_folder(trial, seed)) for seed in seeds]
        return tuple(signature(f"{folder}/{name}") for folder in folders for name in (files.RESULT, files.CHECKPOINT))

    def setting(self, trial_id: str) -> list[Kept]:
        """Returns a trial after those that trained its setting with the seeds before its own, which a race has."""
        found = [self.trials[trial_id]]
        while found[0].outcome.values.get(SEED, 0) > 0:
            earlier = self.trials.get(found[0].outcome.values.get(PROMOTED_FROM))
            if earlier is None or earlier in found:  # It cannot be read, or is damaged.
                break
            found.insert(0, earlier)
        return found

    def swept(self) -> Swept:
        """Returns the sweep as `analysis` knows it, without the damaged trials and without histories."""
        if self._swept is None:
            trials = [kept.outcome for kept in self.trials.values()]
            self._swept = swept(self.directory, self._config, self._space, trials)
        return self._swept

    def last_sign(self) -> float | None:
        """Returns when something was last written, in seconds since 1970; None for a kept sweep."""
        times = [kept.ended for kept in self.trials.values() if kept.ended]
        running = [kept.signature[1] for kept in self.trials.values() if kept.outcome.status == RUNNING and kept.ended]
        times += [state[0] / 1e9 for states in running for state in states if state]
        return max(times, default=None)


def _config(directory: pathlib.Path) -> tuple[ConfigDict, Space]:
    values = read_config(directory)
    if values is None:
        raise LookupError(f"{directory.name} was deleted or moved")
    try:
        config = from_json(values)
        return config, parse_space(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a table that nothing has checked
        raise DamagedError(directory / files.CONFIG, repr(error)) from error


def _folders(oracle: pathlib.Path) -> list[str]:
    try:
        with os.scandir(oracle) as entries:
            return [entry.path for entry in entries if entry.name.startswith("trial_")]
    except OSError:
        return []


def _kept(outcome: Outcome, state: Any, ended: float | None, changed: int) -> Kept:
    epochs = tuple(len(done.history) for done in outcome.results)
    bare = tuple(dataclasses.replace(done, history=[]) for done in outcome.results)
    return Kept(state, dataclasses.replace(outcome, results=bare), epochs, ended, changed)
