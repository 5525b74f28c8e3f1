"""Kept grids that are replayed as races (benchmarks/replays.py)."""

import dataclasses
import pathlib
import runpy

import pytest

from benchmarks import replays
from gnexp.analysis import answer
from gnexp.analysis.sweep import read_sweep
from gnexp.config.objective import MAX, MIN, Objective
from gnexp.space import choice
from tests.support import pages

pytestmark = pytest.mark.any_backend

_ROOT = pathlib.Path(__file__).parents[2]


def test_the_kept_grids_are_answered_alike_with_a_third_of_their_epochs(monkeypatch):
    monkeypatch.chdir(_ROOT)
    found = {path: replays.compare(grid, 2) for path, grid in replays.grids(()).items()}
    together = replays.together(found)
    assert together["same_choice"] == together["choices"] and together["verdicts_turned"] == 0
    later = found.pop("results/em_segmentation")
    assert later["epochs_ratio"] < 0.45  # The rule was made before this grid.
    assert len(found) >= 6 and replays.together(found)["epochs_ratio"] < 0.37


def test_a_grid_without_the_configs_own_values_is_replayed_without_them(tmp_path):
    directory = pages.sweep(tmp_path / "grid", {"model.groups": choice(1, 2)}, "grid", 2, epochs=3)
    for number, groups in enumerate((1, 2)):
        pages.trial(directory, number, {"model.groups": groups}, (0.8, 0.81))
    grid = read_sweep(directory)
    assert grid.config.model.groups not in (1, 2)
    raced, _ = replays.replay(grid, 0)
    assert {trial.values["model.groups"] for trial in raced.trials} == {1, 2}


def test_a_choice_loses_what_is_worse_whichever_way_the_figure_goes():
    grid = read_sweep(_ROOT / "results/groups")
    best, *_ = answer.answers(grid)
    other = dataclasses.replace(best, chosen=grid.best[-1])
    for direction, sign in ((MAX, 1), (MIN, -1)):
        headline = Objective(grid.headline.name, direction)
        lost, _ = replays._choice(dataclasses.replace(grid, headline=headline), best, other)
        assert sign * lost > 0


def test_a_race_is_not_replayed(run_here):
    def main():
        runpy.run_module("benchmarks.racing", run_name="__main__")

    ended = run_here(main, "benchmarks.racing", "--kept=results/cifar10_recipe")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "gnexp: --kept=results/cifar10_recipe is not allowed: its tuner is racing, and only a grid can be replayed\n"
    )
