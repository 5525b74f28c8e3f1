"""The rule of `sweep.tuner = "racing"`: from what was trained so far to the next training. No Keras, and no files.

Every combination of the scientific hyperparameters stays in the race; what is dropped is settings of the nuisance ones
within a combination. A training has one setting, one seed and a number of epochs:

1. Each setting is trained with the first seed for half of the epochs. The better half of each combination's settings,
   and what is closer to it than the precision, goes on to all epochs from its checkpoints (successive halving, Li et
   al., arXiv 1810.05934). Rather than have a worker wait for the rest of a combination, its best so far goes on.
2. The best setting of each combination is trained with a second seed, and then with further ones, one at a time, where
   a comparison is still open: first where the next seed is most likely to close one. Another setting that may be as
   good gets the seeds that it lacks, so that a lucky first seed does not choose alone.

A comparison is of two combinations' chosen settings, paired over the seeds (`race_looks`).
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gnexp.analysis.comparisons import Family
from gnexp.sweeps.oracles import race_looks

ASIDE = -1  # the number of a combination whose setting takes no part in comparisons, and gets no further seeds
# A setting within as many standard errors of the best of its combination may be as good.
_CLOSE = 0.25


@dataclasses.dataclass(frozen=True)
class Race:
    """What is asked.

    Attributes:
      epochs: of a whole training.
      seeds: how many each setting gets at most.
      precision: what differs by less than this is as good as the other.
      sign: 1 if a higher score is better, otherwise -1.
      families: which combinations are compared, by their numbers.
    """

    epochs: int
    seeds: int
    precision: float
    sign: int
    families: Sequence[Family]

    @property
    def rungs(self) -> list[int]:
        """After how many epochs settings are compared."""
        return sorted({math.ceil(self.epochs / 2), self.epochs})


@dataclasses.dataclass
class Setting:
    """One setting of a combination, and what was trained of it.

    Attributes:
      combination: its combination's number, or ASIDE.
      scores: the best value of the objective by (number of the seed, epochs).
      busy: whether it is being trained.
      failed: whether one of its trainings failed; it then leaves the race.
    """

    combination: int
    scores: dict[tuple[int, int], float] = dataclasses.field(default_factory=dict)
    busy: bool = False
    failed: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """A training: of the setting with this place in the list, with a seed, up to a number of epochs."""

    setting: int
    seed: int
    epochs: int


def following(race: Race, settings: Sequence[Setting]) -> Step | None:
    """Returns the next training, or None: then the race is over if no setting is busy, and otherwise it has to wait.

    Args:
      race: what is asked.
      settings: all settings, in the order in which they begin; at each call the same, with what was trained since.
    """
    groups: dict[int, dict[int, Setting]] = {}
    for place, each in enumerate(settings):
        if not (each.scores or each.busy or each.failed):
            return Step(place, 0, race.rungs[0])
        if not each.failed:
            groups.setdefault(each.combination, {})[place] = each
    return (
        _first(_promoted(race, group, certain=True) for group in groups.values())
        or _Seeds(race, groups).following()
        or _first(_promoted(race, group, certain=False) for group in groups.values())
    )


def _first(steps: Iterable[Step | None]) -> Step | None:
    return next((step for step in steps if step), None)


def _promoted(race: Race, group: Mapping[int, Setting], certain: bool) -> Step | None:
    """Returns the step of one of a combination's settings to the next rung.

    Args:
      race: what is asked.
      group: the settings of the combination, by their places.
      certain: whether to wait for those that are being trained.
    """
    for rung, higher in zip(race.rungs, race.rungs[1:], strict=False):
        scores = {place: race.sign * each.scores[0, rung] for place, each in group.items() if (0, rung) in each.scores}
        if not scores or (certain and len(scores) < len(group)):
            continue
        ordered = sorted(scores, key=scores.__getitem__, reverse=True)
        last = scores[ordered[max(1, len(ordered) // 2) - 1]]
        for place in ordered:
            gone = group[place].busy or (0, higher) in group[place].scores
            if last - scores[place] <= race.precision and not gone:
                return Step(place, 0, higher)
    return None


def finals(race: Race, group: Mapping[int, Setting]) -> dict[int, np.ndarray]:
    """Returns, of each setting that was trained for all epochs, its scores by seed, higher ones being better."""
    found = {}
    for place, each in group.items():
        known = [each.scores.get((seed, race.epochs)) for seed in range(race.seeds)]
        if known[0] is not None:
            found[place] = race.sign * np.array([score for score in known if score is not None])
    return found


def chosen(scores: Mapping[int, np.ndarray]) -> int | None:
    """Returns the setting that a combination stands for: of those with the most seeds, the one with the best mean."""
    return max(scores, key=lambda place: (len(scores[place]), scores[place].mean()), default=None)


class _Seeds:
    """The second part of the race, among the combinations whose settings have all been through the first."""

    def __init__(self, race: Race, groups: Mapping[int, Mapping[int, Setting]]):
        self._race = race
        self._groups = groups
        last = (0, race.epochs)
        through = {
            number: group
            for number, group in groups.items()
            if number != ASIDE and not any(each.busy and last not in each.scores for each in group.values())
        }
        found = {number: finals(race, group) for number, group in through.items()}
        self._finals = {number: scores for number, scores in found.items() if scores}
        self._effects = self._seed_effects()
        self._noise = self._typical_noise()
        self._chosen = {number: chosen(scores) for number, scores in self._finals.items()}

    def _seed_effects(self) -> np.ndarray:
        """Returns by how much each seed is better than the first one, over all settings that have both.

        A setting with many seeds can then be compared with one that only has a lucky first.
        """
        every = [scores for found in self._finals.values() for scores in found.values()]
        effects = np.zeros(self._race.seeds)
        for seed in range(1, self._race.seeds):
            more = [scores[seed] - scores[0] for scores in every if len(scores) > seed]
            # Few settings say little of a seed.
            effects[seed] = np.median(more) * len(more) / (len(more) + 2) if more else 0.0
        return effects

    def _typical_noise(self) -> float:
        """Returns the standard deviation between the seeds of a typical setting."""
        found = [
            np.var(scores - self._effects[: len(scores)], ddof=1)
            for each in self._finals.values()
            for scores in each.values()
            if len(scores) > 1
        ]
        return math.sqrt(np.median(found)) if found else 0.0

    def _means(self, number: int) -> dict[int, float]:
        """Returns the mean of each of a combination's settings, whatever its seeds."""
        return {place: np.mean(scores - self._effects[: len(scores)]) for place, scores in self._finals[number].items()}

    def following(self) -> Step | None:
        """Returns the most useful training, or None."""
        gains = self._gains()
        wanted: dict[int, int] = {}  # combination -> setting, where it is not the next of `_contender`
        for number, scores in self._finals.items():
            means = self._means(number)
            best = max(means, key=means.__getitem__)
            if (place := self._dropped_too_early(number, means[best])) is not None:
                return Step(place, 0, self._race.epochs)
            if len(scores[best]) < len(scores[self._chosen[number]]):
                # What the combination stands for has turned out worse than another of its settings.
                wanted[number], gains[number] = best, math.inf
        for number in sorted(gains, key=lambda number: -gains[number]):
            place = wanted[number] if number in wanted else self._contender(number)
            if place is not None and not self._groups[number][place].busy:
                return Step(place, len(self._finals[number][place]), self._race.epochs)
        return None

    def _dropped_too_early(self, number: int, best: float) -> int | None:
        """Returns a setting that was better after fewer epochs than the best mean is now that it has more seeds."""
        for place, each in self._groups[number].items():
            dropped = place not in self._finals[number] and not each.busy
            if dropped and any(self._race.sign * score > best for score in each.scores.values()):
                return place
        return None

    def _contender(self, number: int) -> int | None:
        """Returns the setting of a combination that gets the next seed: of those that may be best, with the fewest."""
        scores, means = self._finals[number], self._means(number)
        best = max(means, key=means.__getitem__)

        def close(place: int) -> bool:
            error = self._noise * math.sqrt(1 / len(scores[best]) + 1 / len(scores[place]))
            return means[best] - means[place] <= _CLOSE * error

        contenders = [place for place in scores if close(place) and len(scores[place]) < self._race.seeds]
        return min(contenders, key=lambda place: (len(scores[place]), -means[place]), default=None)

    def _pairs(self) -> tuple[list[tuple[int, int]], int]:
        """Returns the comparisons whose combinations have both been through the first part, and among how many."""
        pairs, count = [], 0
        for family in self._race.families:
            there = [number for number in family.members if number in self._finals]
            control = family.control
            if there and (control is None or control not in self._groups):  # not searched, or failed
                control = max(there, key=lambda number: self._finals[number][self._chosen[number]].mean())
            if control in self._finals:
                pairs += [(control, number) for number in there if number != control]
                count += Family(family.control if control == family.control else None, tuple(there)).count
        return pairs, count

    def _gains(self) -> dict[int, float]:
        """Returns, for each combination that should have another seed, how much that may tell."""
        pairs, among = self._pairs()
        compared = {number for pair in pairs for number in pair}
        # Where there is nothing to compare, seeds tell which setting is best.
        gains = {number: 1.0 for number in self._finals if number not in compared} if not self._waiting() else {}
        counts = {number: len(self._finals[number][self._chosen[number]]) for number in compared}
        every = {place: each for found in self._finals.values() for place, each in found.items()}
        settings = [(self._chosen[one], self._chosen[other]) for one, other in pairs]
        looks = race_looks.looks(every, settings, self._race.seeds, self._race.precision, among)
        for pair, look in zip(pairs, looks, strict=True):
            fewest = min(counts[number] for number in pair)
            behind = [number for number in pair if counts[number] == fewest < self._race.seeds]
            for number in behind if look.open else ():
                gains[number] = gains.get(number, 0.0) + look.chances[0] / len(behind)
        return gains

    def _waiting(self) -> bool:
        """Whether a combination is still in the first part, so that more comparisons are to come."""
        return len(self._finals) < len(self._groups.keys() - {ASIDE})
