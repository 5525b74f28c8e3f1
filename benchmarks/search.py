"""How fast tuners find good values: keras-tuner's, gnexp's, Optuna's and Ray Tune's, on the tables of kept grids.

Run:      python -m benchmarks.search
          python -m benchmarks.search --contestants="gnexp bayesian;Optuna TPE" --seeds=5
Time:     hours on 2 CPU cores, most of it keras-tuner's bayesian and Optuna's GP.

It needs `pip install optuna==5.0.0 'ray[tune]==2.60.0'`, and PyTorch (`make peers`) for Optuna's GP; what is missing is
left out.
Nothing is trained: trials are looked up in the tables. All have the same space and the same budget, the epochs of each
combination with one seed. The regret is how much lower the objective of the best trial so far is than that of the best
combination, both as means over the grid's seeds. A table's regrets are divided by that of a random combination. A race
is not about the best: it chooses within each combination, and what has several seeds stands first.
"""

import contextlib
import statistics
from collections.abc import Callable, Sequence

from absl import app, flags

from benchmarks import measure, replays, searchers
from benchmarks.searchers import OverError, Table
from gnexp.analysis.sweep import Swept

_KEPT = flags.DEFINE_multi_string("kept", [], "A kept grid; by default those of results/.")
_OUT = flags.DEFINE_string("out", "build/benchmarks/search.json", "Where the figures go.")
_SEEDS = flags.DEFINE_integer("seeds", 20, "How often each contestant searches each table.", lower_bound=1)
_CONTESTANTS = flags.DEFINE_string("contestants", "", "Names, with `;` between them; by default all.")

_TENTHS = range(1, 11)


def regrets(grid: Swept, contestant: Callable[[Table, int], None], seed: int) -> list[float]:
    """Returns the regret at each tenth of the budget, as a share of that of a random combination."""
    table = Table(grid, seed)
    with contextlib.suppress(OverError):
        contestant(table, seed)
    best = max(table.sign * each.mean for each in grid.best)
    typical = best - statistics.fmean(table.sign * each.mean for each in grid.best)
    found = []
    for tenth in _TENTHS:
        known = [regret for spent, regret in table.regrets if spent <= tenth / 10 * table.budget]
        found.append(known[-1] / typical if known else 1.0)
    return found


def main(_: Sequence[str]) -> None:
    """Prints the table, and writes it as JSON."""
    grids, figures = replays.grids(_KEPT.value), {}
    asked = [name.strip() for name in _CONTESTANTS.value.split(";") if name]
    for name, contestant in searchers.contestants().items():
        if asked and name not in asked:
            continue
        try:
            each = {
                folder: [regrets(grid, contestant, seed) for seed in range(_SEEDS.value)]
                for folder, grid in grids.items()
            }
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        runs = [run for of_folder in each.values() for run in of_folder]
        means = [statistics.fmean(column) for column in zip(*runs, strict=True)]
        figures[name] = {"mean": means, "runs": each}
        measure.write(_OUT.value, {"seeds": _SEEDS.value, "contestants": figures})
        print(name, [f"{mean:.3f}" for mean in means], flush=True)
    rows = [[name, *(f"{value:.2f}" for value in row["mean"])] for name, row in figures.items()]
    measure.show(rows, ["regret after", *(f"{10 * tenth}%" for tenth in _TENTHS)])


if __name__ == "__main__":
    app.run(main)
