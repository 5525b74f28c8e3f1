"""The answer to a sweep's question, in the terms of Google's tuning playbook.

For each combination of the scientific hyperparameters, the objective on the validation set chooses the nuisance ones.
Only the chosen trials' test figures are compared, and a difference counts only if the spread over the seeds does not
explain it. All combinations are compared with the config's own, so that the data does not choose the comparisons.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnexp.analysis import comparisons, intervals, outcomes
from gnexp.analysis.intervals import Spread
from gnexp.analysis.outcomes import Outcome
from gnexp.analysis.sweep import Swept
from gnexp.config.paths import flatten
from gnexp.space.domain import Entry, in_order, is_numeric
from gnexp.space.space import Key, key

_LEVEL = 0.05
_EDGE = 0.1  # the share of a range, at either end, that counts as its edge
_DIGITS = 9  # of a figure; later ones are rounding errors of floats
NOISE, UNSURE, WORSE, BETTER = "inside the noise", "inside the noise after Holm's correction", "worse", "better"
NO_SPREAD = "no spread among the seeds to judge by"


@dataclasses.dataclass(frozen=True)
class Answer:
    """The best that one combination of the scientific hyperparameters can do.

    Attributes:
      values: the combination, by dotted path.
      completed, failed: how many trials with these values completed and failed.
      chosen: the completed trial with the best mean objective over its seeds; None if no trial completed.
      edges: the nuisance hyperparameters whose chosen value is at an edge of what was searched.
      figure: the name of the test figure by which answers are compared.
      interval, test_interval: half the width of the 95% interval of the chosen trial's mean objective and test figure;
        None without one, or with one seed.
      aside: whether the config's own values are its only trial, and no other combination was tried with what they tune.
    """

    values: dict[str, Any]
    completed: int
    failed: int
    chosen: Outcome | None
    edges: tuple[str, ...]
    figure: str
    interval: float | None = None
    test_interval: float | None = None
    aside: bool = False

    @property
    def tests(self) -> list[float]:
        """The test figure of each seed of the chosen trial."""
        return [done.test[self.figure] for done in self.chosen.results] if self.chosen else []


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between the test figures of two answers, paired over the seeds.

    Attributes:
      control, other: the two answers; the difference is `other` minus `control`.
      mean: the mean difference.
      interval: half the width of its 95% interval; 0 if all seeds have the same difference.
      p: of a paired t test, after Holm's correction for the number of comparisons; 1 if there is no spread.
      level: the highest p that counts; lower than 0.05 where a race looked several times.
      better: whether `other` has the better mean.
      seeds: how many seeds would tell it from 0 with a chance of 80%, if it is what the mean is; None if it is not
        open, or if that would take more than a thousand.
      among: for how many comparisons p is corrected.
      over: of how many combinations of the other hyperparameters this is the mean; 0 if it is of two combinations.
    """

    control: Answer
    other: Answer
    mean: float
    interval: float
    p: float
    level: float
    better: bool
    seeds: int | None = None
    among: int = 1
    over: int = 0

    @property
    def open(self) -> bool:
        """Whether the seeds may explain the difference, so that more of them may decide."""
        return self.verdict in (NOISE, UNSURE)

    @property
    def verdict(self) -> str:
        """BETTER or WORSE, NOISE or UNSURE where the seeds may explain the difference, or NO_SPREAD."""
        if not self.interval:
            return NO_SPREAD
        if abs(self.mean) <= self.interval:
            return NOISE
        if self.p > self.level:
            return UNSURE
        return BETTER if self.better else WORSE


def answers(sweep: Swept) -> list[Answer]:
    """Returns an answer for each combination that has an ended trial, in the order of their values."""
    paths, found = sweep.space.asked, {}
    for trial in sweep.counted:
        if trial.status != outcomes.RUNNING:
            known = tuple((path, trial.values[path]) for path in paths if path in trial.values)
            found.setdefault(known, []).append(trial)

    def place(known: tuple[tuple[str, Any], ...]) -> list[tuple]:
        # A path that is not searched in a combination has no value there; that comes first.
        values = dict(known)
        return [in_order(values[path]) if path in values else () for path in paths]

    aside = own_aside(sweep)
    return [_answer(sweep, dict(known), found[known], aside) for known in sorted(found, key=place)]


def _answer(sweep: Swept, values: dict[str, Any], trials: Sequence[Outcome], aside: Outcome | None) -> Answer:
    others = [trial for trial in trials if trial is not aside]
    trials = others or trials
    completed = sum(trial.status == outcomes.COMPLETED for trial in trials)
    best = outcomes.chosen(trials, sweep.objective)
    failed = sum(trial.status == outcomes.FAILED for trial in trials)
    edges = tuple(
        entry.path
        for entry in sweep.space.entries
        if best and entry.path in sweep.space.tuned and entry.holds(best.values) and _at_edge(entry, best.values)
    )
    halves = sweep.intervals[best.trial_id] if best else (None, None)
    return Answer(values, completed, failed, best, edges, sweep.headline.name, *halves, aside=not others)


def own_aside(sweep: Swept) -> Outcome | None:
    """Returns the trial with the config's own values if it takes no part in comparisons (`Space.aside`)."""
    values = sweep.space.aside(sweep.config)
    return next((trial for trial in sweep.counted if values and key(_searched(trial)) == key(values)), None)


def _searched(trial: Outcome) -> dict[str, Any]:
    return {path: value for path, value in trial.values.items() if not path.startswith("tuner/")}


def _at_edge(entry: Entry, values: dict[str, Any]) -> bool:
    value = values[entry.path]
    if not is_numeric(value) or entry.count() == 1:
        return False
    if entry.values or entry.step is not None:
        known = sorted(filter(is_numeric, entry.everything()), key=in_order if entry.path == "model.groups" else None)
        return value in (known[0], known[-1]) or not min(known) <= value <= max(known)
    if not entry.low < value < entry.high:  # The config's own value may lie outside, and be 0 on a logarithmic scale.
        return True
    place, low, high = (math.log(x) if entry.sampling == "log" else x for x in (value, entry.low, entry.high))
    return not low + _EDGE * (high - low) < place < high - _EDGE * (high - low)


def differences(sweep: Swept, answered: Sequence[Answer], within: str | None) -> list[Difference]:
    """Returns how each answer differs from its control, the answer with the config's own values.

    Answers are compared in families that share the value of `within`. If a family lacks the config's own values, or
    they failed, its control is its best answer by the objective, and p is corrected for all of the family's pairs.
    Answers with fewer than two seeds are left out.

    Args:
      sweep: the sweep.
      answered: its answers.
      within: a dotted path, or None for a single family of all answers.
    """
    known = [each for each in answered if each.chosen and len(each.tests) > 1 and not each.aside]
    pairs, count = [], 0
    for family in comparisons.families([each.values for each in known], flatten(sweep.config), within):
        members, control = [known[place] for place in family.members], family.control
        if control is None:
            (first, *_) = outcomes.ranked([each.chosen for each in members], sweep.objective)
            control = next(place for place in family.members if known[place].chosen is first)
        pairs += [(known[control], other) for other in members if other is not known[control]]
        count += family.count
    spread, places = _spread(sweep) if pairs else (None, {})
    found = [_of_pairs(spread, places, [pair]) for pair in pairs]
    corrected = intervals.holm([p for *_, p in found], count)
    made = [
        Difference(*pair, mean, half, p, _level(sweep, seeds), sweep.headline.is_better(mean, 0.0), among=count)
        for pair, (mean, half, seeds, _), p in zip(pairs, found, corrected, strict=True)
    ]
    return [dataclasses.replace(each, seeds=_seeds(sweep, spread, places, each)) for each in made]


def by_itself(sweep: Swept, answered: Sequence[Answer]) -> list[Difference]:
    """Returns what each of several scientific hyperparameters does by itself, the others averaged.

    Of each, every value is compared with the config's own, or with the first one if that is not among them, over the
    combinations of the others that both have. Answers with fewer than two seeds are left out, and hyperparameters that
    some combinations lack. The arguments are those of `differences`.
    """
    known = [each for each in answered if each.chosen and len(each.tests) > 1 and not each.aside]
    paths = [path for path in sweep.space.asked if all(path in each.values for each in answered)]
    if len(paths) < 2 or not known:
        return []
    sets = [each for path in paths for each in _alike_but_for(path, known, flatten(sweep.config).get(path))]
    spread, places = _spread(sweep)
    found = [_of_pairs(spread, places, pairs) for *_, pairs in sets]
    made = []
    corrected = intervals.holm([p for *_, p in found])
    for (*values, pairs), (mean, half, seeds, _), p in zip(sets, found, corrected, strict=True):
        sides = (Answer(each, 0, 0, None, (), sweep.headline.name) for each in values)
        better = sweep.headline.is_better(mean, 0.0)
        made.append(Difference(*sides, mean, half, p, _level(sweep, seeds), better, among=len(sets), over=len(pairs)))
    return made


def _alike_but_for(
    path: str, known: Sequence[Answer], own: Any
) -> list[tuple[dict[str, Any], dict[str, Any], list[tuple[Answer, Answer]]]]:
    """Returns a path's control, another value, and the pairs of answers that differ in these alone, for each other."""
    by_value: dict[Any, dict[Key, Answer]] = {}
    for each in known:
        others = {other: value for other, value in each.values.items() if other != path}
        by_value.setdefault(each.values[path], {})[key(others)] = each
    control = own if own in by_value else next(iter(by_value))
    found = []
    for value, having in by_value.items():
        pairs = [(by_value[control][others], each) for others, each in having.items() if others in by_value[control]]
        if value != control and len(pairs) > 1:
            found.append(({path: control}, {path: value}, pairs))
    return found


def _spread(sweep: Swept) -> tuple[Spread, dict[str, int]]:
    """Returns the spread of the test figure over the trials with several seeds, and their places by their ids."""
    several = [trial for trial in sweep.best if len(trial.results) > 1]
    places = {trial.trial_id: place for place, trial in enumerate(several)}
    return Spread([[done.test[sweep.headline.name] for done in trial.results] for trial in several]), places


def _seeds(sweep: Swept, spread: Spread, places: Mapping[str, int], each: Difference) -> int | None:
    """Returns how many seeds would tell an open difference from 0; Holm's first step is the hardest."""
    if not each.open:
        return None
    one, other = (places[side.chosen.trial_id] for side in (each.control, each.other))
    variance, freedom = spread.of_difference(one, other)
    count = min(len(each.control.tests), len(each.other.tests))

    def level(seeds: np.ndarray) -> np.ndarray:
        return np.array([_level(sweep, int(number)) for number in seeds]) / each.among

    more = count + 1  # As many as there are did not tell it.
    return intervals.seeds_needed(each.mean, variance, freedom / (count - 1), level, more) if each.mean else None


def _of_pairs(
    spread: Spread, places: Mapping[str, int], pairs: Sequence[tuple[Answer, Answer]]
) -> tuple[float, float, int, float]:
    """Returns the mean, the interval, the number of seeds and p of a mean of differences, before any correction."""
    count = min(len(side.tests) for pair in pairs for side in pair)
    tests = [[(one.tests[seed], other.tests[seed]) for one, other in pairs] for seed in range(count)]
    largest = max(abs(test) for each in tests for pair in each for test in pair)
    digits = _DIGITS - math.ceil(math.log10(largest)) if largest else _DIGITS
    by_seed = [round(statistics.fmean(b - a for a, b in each), digits) for each in tests]
    mean = statistics.fmean(by_seed)
    if not intervals.has_spread(by_seed):
        return mean, 0.0, count, 1.0
    variance, freedom = spread.of_differences(
        [(places[one.chosen.trial_id], places[other.chosen.trial_id]) for one, other in pairs]
    )
    error = math.sqrt(variance / count)
    return mean, intervals.half_width(error, freedom), count, intervals.two_sided_p(mean, error, freedom)


def _level(sweep: Swept, seeds: int) -> float:
    """Returns the level of a comparison; a race stops by what it sees, so that the 5% are for all of its looks."""
    settings = sweep.config.sweep
    looks = max(seeds, settings.executions)
    return intervals.spent(seeds, looks, _LEVEL) if settings.tuner == "racing" else _LEVEL
