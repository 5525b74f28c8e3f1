"""Replays kept grids as races: how many of the epochs `sweep.tuner = "racing"` trains, and whether it answers the same.

Run:      python -m benchmarks.racing
          python -m benchmarks.racing --kept=results/groups --kept=FOLDER
Time:     a minute on 2 CPU cores.

The oracle itself chooses, and what it asks for is looked up in the table of a grid (`python -m gnexp.report --keep`):
nothing is trained. Each of twenty replays of a grid has its seeds in another order. For each grid:

- `epochs_ratio`: the race's epochs as a share of the grid's.
- `choices`, `same_choice`: how many nuisance settings were chosen, and in how many of them the race chose what the grid
  did, or one that the grid's own seeds cannot tell from it (a paired t test of the objective, p above 0.05).
- `worst_difference`: by how much the race's choice was worse at most, in the mean of the test figure.
- `verdicts`, `verdicts_turned`: the comparisons, and those called better by one and worse by the other;
  `verdicts_decided` were called better or worse by the grid, and `verdicts_lost` of these by the grid alone;
  `verdicts_new` by the race alone.
"""

from absl import app, flags
from tabulate import tabulate

from benchmarks import measure, replays
from gnexp.terminal import exit

_KEPT = flags.DEFINE_multi_string("kept", [], "A kept grid; by default those of results/.")
_OUT = flags.DEFINE_string("out", "build/benchmarks/racing.json", "Where the figures go.")
_REPLAYS = flags.DEFINE_integer("replays", 20, "How often each grid is replayed.", lower_bound=1)


def main(_: list[str]) -> None:
    """Prints the table, and writes it as JSON."""
    figures = {path: replays.compare(grid, _REPLAYS.value) for path, grid in replays.grids(_KEPT.value).items()}
    figures["together"] = replays.together(figures)
    measure.write(_OUT.value, {"replays": _REPLAYS.value, "kept": figures})
    names = [name for name in figures["together"] if name != "grid_epochs"]
    rows = [[folder, *(row[name] for name in names)] for folder, row in figures.items()]
    print(tabulate(rows, ["kept sweep", *names], floatfmt=".3f"))


if __name__ == "__main__":
    exit.run(lambda: app.run(main))
