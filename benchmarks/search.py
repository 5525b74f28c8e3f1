"""How fast tuners find good values: keras-tuner's, gnexp's, Optuna's and Ray Tune's.

Run:      python -m benchmarks.search
          python -m benchmarks.search --problems=trainings
          python -m benchmarks.search --contestants="gnexp bayesian;Optuna TPE" --seeds=5
Time:     hours on 2 CPU cores; a search that is stopped resumes.

It needs `pip install optuna==5.0.0 'ray[tune]==2.60.0'`, and PyTorch (`make peers`) for Optuna's GP; what is missing is
left out.

Two kinds of problems. `tables`: kept grids, in which a training is looked up; the budget is the epochs of each
combination with one seed; a regret of 1 is that of a random combination. `trainings`: real ones, of a few tenths of a
second, over ranges of five hyperparameters; the budget is that of 30 whole trainings; the regret is in points of test
accuracy behind the best of 200 random trainings, so that it may be negative. Either is that of the trial which is best
so far. A race is not about the best: it chooses within each combination, and what has several seeds stands first.
"""

import contextlib
import json
import pathlib
import statistics
from collections.abc import Callable, Sequence

from absl import app, flags

from benchmarks import measure, replays, searchers
from benchmarks.problems import OverError, Problem, Table, Trainings

_KEPT = flags.DEFINE_multi_string("kept", [], "A kept grid; by default those of results/.")
_OUT = flags.DEFINE_string("out", "build/benchmarks/search.json", "Where the figures go, and what resumes.")
_SEEDS = flags.DEFINE_integer("seeds", 20, "How often each contestant searches each problem.", lower_bound=1)
_PROBLEMS = flags.DEFINE_enum("problems", "all", ["all", "tables", "trainings"], "What is searched.")
_CONTESTANTS = flags.DEFINE_string("contestants", "", "Names, with `;` between them; by default all.")

_TRAININGS = "trainings"
_TENTHS = range(1, 11)

Runs = dict[str, dict[str, list[list[float]]]]  # the regrets by contestant, problem, seed and tenth of the budget


def regrets(problem: Problem, contestant: Callable[[Problem, int], None], seed: int) -> list[float]:
    """Returns the regret at each tenth of the budget."""
    with contextlib.suppress(OverError):
        contestant(problem, seed)
    found = []
    for tenth in _TENTHS:
        known = [regret for spent, regret in problem.regrets if spent <= tenth / 10 * problem.budget]
        found.append(known[-1] if known else 1.0)  # a random combination: there is no whole training yet
    return found


def _problems() -> dict[str, Callable[[int], Problem]]:
    """Returns what makes each problem, from a seed."""
    grids = {} if _PROBLEMS.value == "trainings" else replays.grids(_KEPT.value)
    made = {name: lambda seed, grid=grid: Table(grid, seed) for name, grid in grids.items()}
    return made if _PROBLEMS.value == "tables" else {**made, _TRAININGS: Trainings}


def _search(name: str, contestant: Callable[[Problem, int], None], problems: dict, known: Runs) -> None:
    """Lets a contestant search what it has not yet searched, and writes each search as it ends."""
    for folder, make in problems.items():
        for seed in range(len(known.get(name, {}).get(folder, ())), _SEEDS.value):
            found = regrets(make(seed), contestant, seed)
            known.setdefault(name, {}).setdefault(folder, []).append(found)
            measure.write(_OUT.value, {"regrets": known})


def _show(title: str, known: Runs, folders: Sequence[str]) -> None:
    rows = []
    for name, of in known.items():
        runs = [run for folder in folders for run in of.get(folder, ())]
        if runs:
            rows.append([name, *(f"{statistics.fmean(column):.2f}" for column in zip(*runs, strict=True))])
    if rows:
        measure.show(rows, [f"{title}: regret after", *(f"{10 * tenth}%" for tenth in _TENTHS)])


def main(_: Sequence[str]) -> None:
    """Prints the tables, and writes each search's regrets as JSON."""
    out, problems = pathlib.Path(_OUT.value), _problems()
    known: Runs = json.loads(out.read_text())["regrets"] if out.exists() else {}
    asked = [name.strip() for name in _CONTESTANTS.value.split(";") if name]
    for name, contestant in searchers.contestants().items():
        if not asked or name in asked:
            try:
                _search(name, contestant, problems, known)
                print(f"{name} has ended", flush=True)
            except ModuleNotFoundError as error:
                print(f"{name} is left out: {error}")
    _show("kept grids", known, [folder for folder in problems if folder != _TRAININGS])
    _show("trainings", known, [_TRAININGS])


if __name__ == "__main__":
    app.run(main)
