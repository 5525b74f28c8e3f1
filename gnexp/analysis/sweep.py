"""Reads a sweep from its workdir, also while it runs."""

import dataclasses
import functools
import pathlib

from ml_collections import ConfigDict

from gnexp.analysis import kept_trials, outcomes
from gnexp.analysis.intervals import half_widths
from gnexp.analysis.outcomes import COMPLETED, FAILED, RUNNING, Outcome
from gnexp.config import objective
from gnexp.config.objective import Objective
from gnexp.config.paths import flatten
from gnexp.config.stored import from_json
from gnexp.config.upgrade import renamed
from gnexp.errors import DamagedError, UserError
from gnexp.space.parse import parse_space
from gnexp.space.space import Space
from gnexp.workdir import files, result, trial_record
from gnexp.workdir.folder import read_config


@dataclasses.dataclass(frozen=True)
class Swept:
    """A sweep, finished or not.

    Attributes:
      directory: its workdir.
      config: its config.
      objective: what the sweep optimizes.
      headline: the figure by which trials are compared on the test set.
      space: its search space.
      trials: all of them.
      counted: those that no completed trial resumed, so that one promoted by hyperband counts once.
      best: the completed trials of `counted`, the best first.
    """

    directory: pathlib.Path
    config: ConfigDict
    objective: Objective
    headline: Objective
    space: Space
    trials: list[Outcome]
    counted: list[Outcome]
    best: list[Outcome]

    @functools.cached_property
    def intervals(self) -> dict[str, tuple[float | None, float | None]]:
        """Half the widths of the 95% intervals of each completed trial's objective and test figure, by its id.

        They are of the means over its seeds, by the spread of all trials (`intervals.Spread`); None with one seed.
        """
        scores = half_widths([trial.scores for trial in self.best])
        tests = half_widths([[done.test[self.headline.name] for done in trial.results] for trial in self.best])
        return {trial.trial_id: pair for trial, *pair in zip(self.best, scores, tests, strict=True)}

    @property
    def kept(self) -> bool:
        """Whether the folder is a kept one (`reports.archive`), without models and event files."""
        return (self.directory / files.KEPT).exists()

    @property
    def finished(self) -> bool:
        """Whether it is kept, or reached its end."""
        return self.kept or result.succeeded(self.directory)

    @property
    def ended_by(self) -> str:
        """Which limit ended it before it was over, in one line; "" if none did."""
        return result.ended_by(self.directory)


def read_sweep(directory: pathlib.Path) -> Swept:
    """Returns the sweep in a workdir.

    Raises:
      UserError: there is no sweep, or it lacks a file.
    """
    trials = read_trials(directory)
    path = directory / files.CONFIG
    try:
        config = from_json(read_config(directory))
        space = parse_space(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a table that nothing has checked
        raise DamagedError(path, repr(error)) from error
    return swept(directory, config, space, trials)


def swept(directory: pathlib.Path, config: ConfigDict, space: Space, trials: list[Outcome]) -> Swept:
    """Returns what the trials of a sweep amount to; arguments as the attributes of `Swept`."""
    counted, flat = outcomes.final(trials), flatten(config)
    asked = objective.of(flat)
    best = outcomes.ranked(counted, asked)
    return Swept(directory, config, asked, objective.headline(flat), space, trials, counted, best)


def is_sweep(directory: pathlib.Path) -> bool:
    """Tells whether a folder is the workdir of a sweep, or a kept sweep."""
    return "sweep" in (read_config(directory) or ())


def read_trials(directory: pathlib.Path) -> list[Outcome]:
    """Returns the trials of the sweep in a workdir, in the order in which they were created.

    Raises:
      UserError: there is no sweep, or a completed trial lacks its result.
    """
    if not is_sweep(directory):
        raise UserError(f"--workdir={directory} holds no sweep")
    config = read_config(directory)
    if (directory / files.KEPT).exists():
        return kept_trials.read(directory / files.KEPT, config)
    paths = sorted((directory / files.ORACLE).glob(f"trial_{files.A_TRIAL}/trial.json"))
    return [
        read_trial(directory, path, range(config["seed"], config["seed"] + config["sweep"]["executions"]))
        for path in paths
    ]


def read_trial(directory: pathlib.Path, path: pathlib.Path, seeds: range) -> Outcome:
    """Returns one trial of the sweep in a workdir.

    Args:
      directory: the workdir.
      path: of the trial's file in the oracle's folder.
      seeds: of a trial's executions.

    Raises:
      UserError: the file cannot be read, or a completed trial lacks its result.
    """
    state = trial_record.read(path)
    trial = files.trial_folder(directory, state["trial_id"])
    values = {renamed(name): value for name, value in state["hyperparameters"]["values"].items()}
    its = outcomes.seeds(values, len(seeds))
    found = [result.finished(files.execution_folder(trial, seeds[number])) for number in its]
    if state["status"] == "COMPLETED" and not all(found):
        raise UserError(f"{trial} lacks a result.json of a trial that completed: restore it")
    return Outcome(
        trial_id=state["trial_id"],
        values=values,
        status={"COMPLETED": COMPLETED, "RUNNING": RUNNING}.get(state["status"], FAILED),
        message=state["message"],
        results=tuple(done for done in found if done),
    )
