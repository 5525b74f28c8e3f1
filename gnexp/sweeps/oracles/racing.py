"""Racing: each step of the race of `race.py` as a trial."""

import statistics
from collections.abc import Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from ml_collections import ConfigDict

from gnexp.analysis import comparisons
from gnexp.analysis.outcomes import EPOCHS, FIRST_EPOCH, PROMOTED_FROM, SEED, standing
from gnexp.config.objective import MAX, Objective
from gnexp.config.paths import flatten
from gnexp.space.space import Space
from gnexp.sweeps.oracles import race, race_plan
from gnexp.sweeps.oracles.durable import Best, Durable
from gnexp.sweeps.oracles.race import Race, Setting, Step
from gnexp.terminal.words import count

_MOST_TRIALS = 9999  # The names of trials have four digits.
_SECONDS = "seconds"  # the metric under which a trial keeps how long it took


class Racing(Durable, keras_tuner.Oracle):
    """The race: a trial is one training, and what is known of a setting is a chain of trials.

    A trial has `tuner/seed`, the number of its seed, and `tuner/epochs`. One with more epochs continues from another's
    checkpoint; one with a further seed counts together with those of the seeds before (`outcomes.final`). Both name
    that trial as `tuner/trial_id`. `max_trials` limits the settings, not the steps that continue them.

    What comes next depends on the trials alone, so that a kill does not change it.

    Args:
      space: the search space.
      config: the sweep's config.
      **options: of `Durable`.
    """

    def __init__(self, space: Space, config: ConfigDict, **options):
        super().__init__(space, **options)
        self._config = config
        self._known: _Known | None = None

    def _may_begin(self) -> bool:
        return len(self.trials) < _MOST_TRIALS

    def _book(self) -> "_Known":
        if self._known is None:
            self._known = _Known(self.space, self._config, self.asked)
            for trial in self.trials.values():
                self._known.note(trial)
        return self._known

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next training."""
        known = self._book()
        step = known.following()
        if step is not None and not self._exceeded(step):
            return {"status": TrialStatus.RUNNING, "values": known.values(step)}
        return {"status": TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED}

    def _exceeded(self, step: Step) -> list[str]:
        """Returns the limits that do not allow a step, as a config gives them."""
        most, known = self._config.sweep, self._book()
        values, found = known.values(step), []
        if 0 < most.max_epochs < known.epochs + values[EPOCHS] - values[FIRST_EPOCH]:
            found.append(f"config.sweep.max_epochs={most.max_epochs}")
        if 0 < most.max_seconds <= known.seconds:
            found.append(f"config.sweep.max_seconds={most.max_seconds:g}")
        return found

    def ended_by(self) -> str:
        """Returns which limit ended the race before it was over, and what it left out; "" if none did."""
        known = self._book()
        step = known.following()
        if self.ongoing_trials or step is None or not (limits := self._exceeded(step)):
            return ""
        said = (
            f"{' and '.join(limits)} ended the race: raise {'them' if limits[1:] else 'it'} on this workdir to continue"
        )
        every = {each.combination for each in known.settings}
        left = len(every - {each.combination for each in known.settings if each.scores})
        return said + (f"; without a completed training: {left} of {count(len(every), 'combination')}" if left else "")

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the running trial of a tuner id, or the next one."""
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self._book().note(trial)
        return trial

    def took(self, trial_id: str, seconds: float) -> None:
        """Records for how many seconds a trial's training has run, those of the trial that it continues included."""
        metrics = self.trials[trial_id].metrics
        if not metrics.exists(_SECONDS):
            metrics.register(_SECONDS, direction="min")
        metrics.update(_SECONDS, seconds, step=0)

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial."""
        super().end_trial(trial)
        self._book().note(trial)

    def reload(self) -> None:
        """Reads what was saved."""
        super().reload()
        self._known = None

    def promotable(self) -> set[str]:
        """Returns the ids of the trials that others may continue, and of those that may become the best."""
        known = self._book()
        if not self.ongoing_trials and known.following() is None:
            return set()
        return set(known.lasts.values())

    def best(self) -> Best | None:
        """Returns the best setting, by the mean over its seeds."""
        return self._book().best()


class _Known:
    """What is known of each setting, from the trials."""

    def __init__(self, space: Space, config: ConfigDict, objective: Objective):
        self._asked = space.asked
        self._objective = objective
        self._chains: list[dict[tuple[int, int], str]] = []  # of each setting: (seed, epochs) -> trial id
        self._values: list[dict[str, Any]] = []
        self._places: dict[race_plan.Key, int] = {}
        self._numbers: dict[race_plan.Key, int] = {}
        self._combinations: list[dict[str, Any]] = []  # the values of what is asked, in the order of their numbers
        self._ended: dict[str, float] = {}
        self._begun: set[str] = set()
        self._following: list[Step | None] = []  # the next step, once it is known
        self._standings: dict[int, tuple[tuple, Best]] = {}  # of each setting that has completed a trial
        self.settings: list[Setting] = []
        self.lasts: dict[int, str] = {}  # the id of the last trial of each setting that has not failed
        self.epochs, self.seconds = 0, 0.0
        aside = space.aside(config)
        self._aside = aside and race_plan.key(aside)
        for values in race_plan.plan(space, config):
            self._place(values)
        shared = comparisons.within(self._combinations, self._asked) if self._asked else None
        self.race = Race(
            epochs=config.epochs,
            seeds=config.sweep.executions,
            precision=config.sweep.precision,
            sign=1 if self._objective.direction == MAX else -1,
            families=comparisons.families(self._combinations, flatten(config), shared) if self._asked else (),
        )

    def _place(self, values: dict[str, Any]) -> int:
        """Returns the place of a setting, which is new if it was not planned: it began with another `max_trials`."""
        found = race_plan.key(values)
        if found not in self._places:
            self._places[found] = len(self.settings)
            self.settings.append(Setting(race.ASIDE if found == self._aside else self._combination(values)))
            self._values.append({path: value for path, value in values.items() if not path.startswith("tuner/")})
            self._chains.append({})
        return self._places[found]

    def _combination(self, values: Mapping[str, Any]) -> int:
        """Returns the number of a setting's combination, which may be a new one."""
        number = self._numbers.setdefault(race_plan.combination(self._asked, values), len(self._numbers))
        if number == len(self._combinations):
            self._combinations.append({path: values[path] for path in self._asked if path in values})
        return number

    def note(self, trial: Trial) -> None:
        """Records how far a trial is."""
        values = trial.hyperparameters.values
        place, step = self._place(values), (values[SEED], values[EPOCHS])
        setting = self.settings[place]
        if trial.trial_id not in self._begun:
            self._begun.add(trial.trial_id)
            self.epochs += values[EPOCHS] - values[FIRST_EPOCH]
        self._following = []
        setting.busy = trial.status == TrialStatus.RUNNING
        setting.failed |= trial.status == TrialStatus.FAILED
        if trial.status == TrialStatus.COMPLETED:
            setting.scores[step] = trial.score
            self._chains[place][step] = trial.trial_id
            self._spend(trial, values)
        if trial.status in (TrialStatus.COMPLETED, TrialStatus.FAILED):
            self._rank(place, trial)

    def _rank(self, place: int, trial: Trial) -> None:
        """Notes where a setting stands after a trial of it, which is the last of its chain."""
        if self.settings[place].failed:
            self.lasts.pop(place, None)
            self._standings.pop(place, None)
            return
        scores = self.settings[place].scores
        epochs = trial.hyperparameters.values[EPOCHS]
        mean = statistics.fmean(score for (_, trained), score in scores.items() if trained == epochs)
        seeds = sum(trained == epochs for _, trained in scores)
        stands = standing(trial.hyperparameters.values, seeds)
        self.lasts[place] = trial.trial_id
        self._standings[place] = (stands, self.race.sign * mean, -place), Best(trial, mean, seeds)

    def following(self) -> Step | None:
        """Returns the next step, or None if there is none at the moment."""
        if not self._following:
            self._following = [race.following(self.race, self.settings)]
        return self._following[0]

    def _spend(self, trial: Trial, values: dict[str, Any]) -> None:
        took = trial.metrics.get_best_value(_SECONDS) if trial.metrics.exists(_SECONDS) else 0.0
        self._ended[trial.trial_id] = took
        self.seconds += took - (self._ended.get(values.get(PROMOTED_FROM), 0.0) if values[FIRST_EPOCH] else 0.0)

    def values(self, step: Step) -> dict[str, Any]:
        """Returns the values of a step's trial."""
        chain = self._chains[step.setting]
        before = [epochs for seed, epochs in chain if seed == step.seed]
        first = max(before, default=0)
        former = chain.get((step.seed, first)) or chain.get((step.seed - 1, self.race.epochs))
        rung = {SEED: step.seed, EPOCHS: step.epochs, FIRST_EPOCH: first}
        return {**self._values[step.setting], **({PROMOTED_FROM: former} if former else {}), **rung}

    def best(self) -> Best | None:
        """Returns the best setting, as `outcomes.ranked` has it."""
        return max(self._standings.values(), key=lambda each: each[0], default=(None, None))[1]
