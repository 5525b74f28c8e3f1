"""What a sweep prints in the terminal."""

import functools
import math
import pathlib
import shlex
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from tabulate import tabulate
from tqdm import tqdm

from gnexp.analysis import answer_words, coding, effects
from gnexp.analysis.effects import Effect
from gnexp.analysis.intervals import with_spread
from gnexp.analysis.outcomes import Outcome
from gnexp.config import objective as objectives
from gnexp.config.objective import Objective
from gnexp.config.paths import flatten
from gnexp.space.space import Space
from gnexp.sweeps.oracles import race_limit, race_plan
from gnexp.sweeps.trial_console import LASTING, TrialConsole
from gnexp.terminal.words import figure, in_words, short

_ROLES = (
    "scientific: what the sweep asks about; nuisance: what has to be tuned for a fair answer; fixed: what stays as it "
    "is."
)
_MOST_SHOWN = 2  # running trials that fit into one line


class SweepConsole:
    """Shows a sweep's progress: two lines that change while a trial runs, and a line for each that has ended.

    Args:
      trials: how many trials the sweep will have.
      objective: the name of the figure that is optimized.
    """

    def __init__(self, trials: int, objective: str):
        self._trials = trials
        self._objective = objective
        self._completed = self._failed = self._ended_here = 0
        self._best: tuple | None = None
        self._began = time.monotonic()
        self._running: dict[str, str] = {}
        self._bars: list[tqdm] = []

    def __enter__(self):
        """Shows the two lines if the output is a terminal."""
        # The second bar is only a line of text.
        count = "{n_fmt}/{total_fmt} trials |{bar:20}| {desc}"
        self._bars = [
            tqdm(total=self._trials, bar_format=layout, leave=False, disable=None, file=sys.stdout, position=position)
            for position, layout in enumerate((count, "{desc}"))
        ]
        self._refresh()
        return self

    def __exit__(self, *error):
        """Removes the two lines."""
        for bar in reversed(self._bars):
            bar.close()

    def show(self, completed: int, failed: int, best: tuple[str, float, dict] | None) -> None:
        """Sets what the lines show of the sweep; `best` is a trial's id, score and values."""
        self._completed, self._failed, self._best = completed, failed, best

    def trial(self, trial_id: str, epochs: int) -> TrialConsole:
        """Returns the console for a trial that starts."""
        self.progress(trial_id, "")
        return TrialConsole(functools.partial(self.progress, trial_id), epochs)

    def progress(self, trial_id: str, text: str) -> None:
        """Shows how far a running trial is; what lasts gets a line of its own."""
        if text.startswith(LASTING):
            self.say(f"trial {trial_id}: {text.removeprefix(LASTING)}")
            return
        self._running[trial_id] = text
        self._refresh()

    def say(self, text: str) -> None:
        """Prints a line."""
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def ended(self, trial_id: str, values: dict, score: str, seconds: float) -> None:
        """Prints the line of a trial that has ended.

        Args:
          trial_id: the trial's name.
          values: its hyperparameters by dotted path.
          score: its score in words, or why it failed.
          seconds: how long it took.
        """
        self._running.pop(trial_id, None)
        self._ended_here += 1
        line = f"trial {trial_id}   {score}   {in_words(values)}   {seconds:.1f} s"
        if self._bars[0].disable:
            best = f"; best so far {figure(self._best[1])}: trial {self._best[0]}" if self._best else ""
            ended = self._completed + self._failed
            print(f"{line}   [{ended}/{max(ended, self._trials)} trials, {self._status()}{best}]", flush=True)
        else:
            tqdm.write(line, file=sys.stdout)
        self._refresh()

    def _status(self) -> str:
        parts = [f"{self._failed} failed"]
        if self._ended_here:
            each = (time.monotonic() - self._began) / self._ended_here
            left = max(0, self._trials - self._completed - self._failed)
            parts.append(f"{tqdm.format_interval(each * left)} left")
        return ", ".join(parts)

    def _now(self) -> str:
        if len(self._running) > _MOST_SHOWN:
            return f", {len(self._running)} running"
        running = ", ".join(f"{name} {text}".strip() for name, text in self._running.items())
        return running and f", running {running}"

    def _best_so_far(self) -> str:
        if self._best is None:
            return f"no {self._objective} yet"
        trial_id, score, values = self._best
        return f"best {self._objective} {figure(score)}: trial {trial_id}   {in_words(values)}"

    def _refresh(self) -> None:
        if self._bars and not self._bars[0].disable:
            self._bars[0].n = self._completed + self._failed
            self._bars[0].set_description_str(self._status() + self._now())
            self._bars[1].set_description_str(self._best_so_far())


def _can_answer(config: ConfigDict, space: Space) -> str:
    """Returns what the sweep's report will be able to say, and what would let it say more."""
    if not space.asked:
        return "Nothing is scientific: the report will name the best trial, and compare nothing."
    if why := answer_words.modelled(config, space):
        trials, needed = space.trials(config), coding.fewest(space, config.sweep.tuner)
        how = "answer by a model of the trials, if one holds"
        if trials < needed:
            how = f"only show the {trials} trials, since a model takes {needed}"
        return (
            f"The report will {how}, and will not compare combinations one by one, because {why}. With tuner=grid or "
            "racing and a choice of a few values for each of them, it would compare them on test figures."
        )
    if config.sweep.executions == 1:
        return (
            "The report will show each combination, and compare nothing: that takes config.sweep.executions=2 or more."
        )
    if cut := race_limit.cut(config, space):
        return (
            f"config.sweep.max_epochs={config.sweep.max_epochs} ends the race after about {cut.trainings} of "
            f"{cut.whole} trainings, which take about {cut.epochs} epochs together: the report will compare "
            f"{'only a part of the combinations' if cut.compares else 'little or nothing'}."
        )
    said = (
        f"The report will compare the combinations of {', '.join(space.asked)} on test figures, paired over the seeds."
    )
    if config.sweep.tuner != "racing":
        return said
    race = race_plan.expected(space, config)
    said += f" {race.combinations} of them race, with {race.fewest} settings of what is tuned or more."
    if race.left_out:
        said += (
            f" {race.left_out} others do not: config.sweep.max_trials={config.sweep.max_trials} is too low for them."
        )
    return said


def _trials(tuner: str) -> str:
    # In a race each training is a trial, and `max_trials` does not limit them.
    return "settings" if tuner == "racing" else "trials"


def dry_run(config: ConfigDict, space: Space, first: Sequence[Mapping[str, Any]]) -> None:
    """Prints what a sweep would do.

    Args:
      config: the sweep's.
      space: its search space.
      first: the values of its first trials.
    """
    rows = [
        [
            entry.path,
            entry.role,
            str(entry),
            "" if entry.when is None else f"{entry.when[0]}: {', '.join(map(str, entry.when[1]))}",
        ]
        for entry in space.entries
    ]
    print(tabulate(rows, ["", "role", "values", "where"], disable_numparse=True))
    size = f"{space.size():.0f}" if math.isfinite(space.size()) else "infinitely many"
    print(f"\n{size} combinations; a grid of them has {space.grid_size()}")
    sweep = config.sweep
    seeds = f"{sweep.executions} seed{'' if sweep.executions == 1 else 's'}"
    print(
        f"{sweep.tuner}, seed {sweep.seed}: up to {sweep.max_trials} {_trials(sweep.tuner)} of {seeds}, "
        f"to get the {objectives.of(flatten(config)).direction} {config.objective}"
    )
    if space.first(config) is not None:
        print("Trial 0000 has the config's own values, with which all is compared.")
    print(f"\n{_ROLES}\n{_can_answer(config, space)}")
    print(f"\nThe first {len(first)} trials\n")
    paths = list(dict.fromkeys(path for values in first for path in values))
    table = [[f"{number:04d}", *(short(values.get(path, "")) for path in paths)] for number, values in enumerate(first)]
    print(tabulate(table, ["trial", *paths], disable_numparse=True))


def summary(
    directory: pathlib.Path,
    objective: Objective,
    headline: str,
    best: Sequence[tuple[Outcome, float | None]],
    failures: Mapping[str, str],
    found: Sequence[Effect],
    trials: int,
) -> None:
    """Prints the end of a sweep.

    Args:
      directory: its workdir.
      objective: the figure that was optimized.
      headline: the name of the test figure that is shown.
      best: the best trials, each with half the width of its mean's 95% interval.
      failures: the message of each failed trial, by its id.
      found: the effect of each hyperparameter.
      trials: how many there are in all.
    """
    where = f" on {best[0][0].results[0].dataset}" if best else ""
    print(f"\n{trials} trials{where}, {len(failures)} failed")
    for trial_id, message in failures.items():
        print(f"  trial {trial_id} failed: {message}")
    if best:
        _print_best(objective, headline, best)
        print(f"\nWhat each hyperparameter does to {objective.name} (mean over the trials that had the value;")
        print("95% interval where the values were drawn at random)\n")
        print(tabulate(effects.rows(found, objective), effects.HEADERS, disable_numparse=True))
        _print_next_steps(directory)


def _print_best(objective: Objective, headline: str, best: Sequence[tuple[Outcome, float | None]]) -> None:
    print(f"\nThe best, by {objective.name} (mean over the seeds, 95% interval where there are several)\n")
    if "tuner/epochs" in best[0][0].values:
        print("Trials that were promoted are left out: the trial that resumed them has their epochs.\n")
    bounds = objectives.bounds(objective.name)
    paths = dict.fromkeys(path for each, _ in best for path in each.values)
    paths = [path for path in paths if not path.startswith("tuner/") or path == "tuner/epochs"]
    rows = [
        [each.trial_id, with_spread(each.mean, half, bounds), len(each.results)]
        + [figure(statistics.fmean(done.test[headline] for done in each.results))]
        + [short(each.values.get(path, "")) for path in paths]
        for each, half in best
    ]
    headers = ["trial", objective.name, "seeds", f"test {objectives.words(headline)}", *paths]
    print(tabulate(rows, headers, disable_numparse=True))


def _print_next_steps(directory: pathlib.Path) -> None:
    quoted = shlex.quote(str(directory))
    print(f"\nworkdir: {directory}")
    print("\nNext steps: train the best trial by itself, see the sweep in TensorBoard, make a page of it:\n")
    print(f"  python -m gnexp.train --config={quoted}/best.py")
    print(f"  tensorboard --logdir={quoted}")
    print(f"  python -m gnexp.report --workdir={quoted}")
