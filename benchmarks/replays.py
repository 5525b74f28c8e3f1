"""A kept grid, replayed as a race: the oracle chooses, and what it asks for is looked up in the grid's table."""

import dataclasses
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from keras_tuner.engine.trial import TrialStatus
from scipy import stats

from gnexp.analysis import answer, intervals, outcomes
from gnexp.analysis.answer import Answer
from gnexp.analysis.comparisons import within
from gnexp.analysis.outcomes import COMPLETED, EPOCHS, SEED, Outcome
from gnexp.analysis.sweep import Swept, read_sweep, swept
from gnexp.config.objective import MAX, Objective
from gnexp.errors import UserError
from gnexp.sweeps.oracles.create import create
from gnexp.sweeps.oracles.race_plan import Key, key
from gnexp.workdir.result import Result

_ALPHA = 0.05


def grids(folders: Sequence[str]) -> dict[str, Swept]:
    """Returns kept grids by their folders; all that are in results/ if none are given.

    Raises:
      UserError: a folder holds no grid.
    """
    paths = folders or sorted(str(path.parent) for path in pathlib.Path("results").glob("*/trials.csv"))
    found = {path: read_sweep(pathlib.Path(path)) for path in paths}
    for path, tuner in ((path, sweep.config.sweep.tuner) for path, sweep in found.items() if folders):
        if tuner != "grid":
            raise UserError(f"--kept={path} is not allowed: its tuner is {tuner}, and only a grid can be replayed")
    return {path: sweep for path, sweep in found.items() if sweep.config.sweep.tuner == "grid"}


def replay(grid: Swept, seed: int) -> tuple[Swept, int]:
    """Returns what a race would have left of a grid, and how many epochs it would have trained.

    Args:
      grid: the finished grid.
      seed: of the order of the grid's seeds, and of the race.
    """
    config = grid.config.copy_and_resolve_references()
    table: Mapping[Key, Outcome] = {key(each.values): each for each in grid.trials}
    own = grid.space.own(config)
    # Grids that are older than `own_first` may hold the config's own values, too.
    config.sweep.own_first = own is not None and key(own) in table
    config.sweep.tuner, config.sweep.seed = "racing", seed
    order = np.random.default_rng(seed).permutation(config.sweep.executions)
    oracle, found, epochs = create(config, grid.space), [], 0
    while (trial := oracle.create_trial("tuner0")).status == TrialStatus.RUNNING:
        values = trial.hyperparameters.values
        known = table.get(key(values))
        if known is None:
            raise UserError(f"{grid.directory} has no trial of {values}: it must be a finished grid")
        epochs += values[EPOCHS] - values[outcomes.FIRST_EPOCH]
        if known.status == COMPLETED:
            done = _until(known.results[order[values[SEED]]], values[EPOCHS], grid.objective)
            oracle.update_trial(trial.trial_id, {config.objective: done.best_value})
            found.append(Outcome(trial.trial_id, dict(values), COMPLETED, None, (done,)))
        trial.status = TrialStatus.COMPLETED if known.status == COMPLETED else TrialStatus.FAILED
        oracle.end_trial(trial)
    return swept(grid.directory, config, grid.space, found), epochs


def _until(done: Result, epochs: int, objective: Objective) -> Result:
    """Returns a training's result had it ended earlier, except for the test figures, which nothing reads then."""
    history = done.history[:epochs]
    best = objective.best(epoch[done.objective] for epoch in history)
    return dataclasses.replace(done, history=history, best_value=best)


def compare(grid: Swept, replays: int) -> dict[str, float]:
    """Returns the figures of a grid; see `benchmarks.racing`."""
    trained = sum(len(done.history) for trial in grid.trials for done in trial.results)
    known = _verdicts(grid)
    figures = dict.fromkeys(("choices", "same_choice", "verdicts", "verdicts_turned"), 0)
    figures |= dict.fromkeys(("verdicts_decided", "verdicts_lost", "verdicts_new", "worst_difference"), 0)
    epochs, of_grid = [], {_name(each): each for each in answer.answers(grid)}
    for seed in range(replays):
        race, count = replay(grid, seed)
        epochs.append(count)
        for each in answer.answers(race):
            lost, same = _choice(grid, of_grid[_name(each)], each)
            figures["choices"] += 1
            figures["same_choice"] += same
            figures["worst_difference"] = max(figures["worst_difference"], lost)
        found = _verdicts(race)
        for pair, verdict in known.items():
            other = found.get(pair, 0)
            figures["verdicts"] += 1
            figures["verdicts_turned"] += verdict * other < 0
            figures["verdicts_decided"] += verdict != 0
            figures["verdicts_lost"] += verdict != 0 and other == 0
            figures["verdicts_new"] += verdict == 0 and other != 0
    return {"epochs_ratio": statistics.fmean(epochs) / trained, "grid_epochs": trained, **figures}


def _name(each: Answer) -> Key:
    return key(each.values)


def _verdicts(sweep: Swept) -> dict[tuple[Key, Key], int]:
    """Returns 1 for a comparison that is better, -1 for worse, 0 for neither, by control and other."""
    found = answer.answers(sweep)
    shared = within([each.values for each in found], sweep.space.asked)
    signs = {answer.BETTER: 1, answer.WORSE: -1}
    return {
        (_name(each.control), _name(each.other)): signs.get(each.verdict, 0)
        for each in answer.differences(sweep, found, shared)
    }


def _choice(grid: Swept, one: Answer, other: Answer) -> tuple[float, bool]:
    """Returns how much of the test figure another choice than the grid's loses, and whether its seeds cannot tell."""
    trials = {key(trial.values): trial for trial in grid.trials}
    chosen = trials[key(other.chosen.values)]
    lost = statistics.fmean(one.tests) - statistics.fmean(done.test[grid.headline.name] for done in chosen.results)
    lost *= 1 if grid.headline.direction == MAX else -1
    by_seed = [a - b for a, b in zip(one.chosen.scores, chosen.scores, strict=True)]
    return lost, chosen is one.chosen or _p(by_seed) > _ALPHA


def _p(paired: Sequence[float]) -> float:
    """Returns the two-sided p of a t test that differences have the mean 0; 1 if they have no spread."""
    return float(stats.ttest_1samp(paired, 0).pvalue) if intervals.has_spread(paired) else 1.0


def together(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns the figures of all grids together."""
    rows = list(figures.values())
    of_grids = sum(row["grid_epochs"] for row in rows)
    found = {name: sum(row[name] for row in rows) for name in rows[0]}
    found["epochs_ratio"] = sum(row["epochs_ratio"] * row["grid_epochs"] for row in rows) / of_grids
    found["worst_difference"] = max(row["worst_difference"] for row in rows)
    return found
