"""What all oracles share: durable files, and fixes for the defects of keras-tuner 1.4.8 that a sweep would meet.

An oracle chooses the trials. Its files are keras-tuner's own, in keras-tuner's own format, so that a plain
`keras_tuner.RandomSearch(..., directory=workdir, project_name="oracle")` opens them.

They survive a kill at any instant, because each file is replaced, never written in place, and only `oracle.json` says
what happened. A trial that it does not list was never created; one without an end there has not ended. All functions of
keras-tuner that write are overridden. These also leak its lock when they raise (engine/oracle.py `synchronized`), and
use a deprecated function of `threading`.
"""

import dataclasses
import pathlib
import shutil
from typing import Annotated, Any, TypedDict

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from msgspec import Meta

from gnexp.analysis.outcomes import PROMOTED_FROM
from gnexp.config.objective import Objective
from gnexp.config.upgrade import with_present_names
from gnexp.errors import DamagedError, UserError
from gnexp.space.space import Space
from gnexp.sweeps.oracles import hyperparameters
from gnexp.workdir import files, trial_record

_STATE = "oracle.json"
# Without this file keras-tuner starts from the beginning, over the files of the earlier search.
_TUNER = "tuner0.json"
_MOST_LISTED = 100_000

_TrialId = Annotated[str, Meta(pattern=r"^[0-9]{4}$")]


class _State(TypedDict):
    """What `oracle.json` holds, whatever the tuner."""

    ongoing_trials: dict[str, _TrialId]
    hyperparameters: dict[str, Any]
    start_order: list[_TrialId]
    end_order: list[_TrialId]
    run_times: dict[str, int]
    retry_queue: list[str]
    seed: int
    seed_state: int
    tried_so_far: list[str]
    id_to_hash: dict[str, str | None]
    display: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Best:
    """The best of a sweep's trials.

    Attributes:
      trial: the trial.
      score: its mean over the seeds.
      seeds: how many there are.
    """

    trial: Trial
    score: float
    seeds: int


class Durable:
    """The part that all oracles share; it must come before keras-tuner's class among the bases.

    Args:
      space: the search space.
      objective: the figure that is optimized.
      max_trials: how many trials there will be at most.
      first: the values of the first trial; None if the tuner chooses them.
      seed: any whole number; keras-tuner takes 0 for "at random" (oracle.py:350).
      **options: of the keras-tuner class.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective,
        max_trials: int,
        seed: int,
        first: dict[str, Any] | None = None,
        **options,
    ):
        super().__init__(
            # Left to itself keras-tuner guesses the direction, and would minimize val_f1_score.
            objective=keras_tuner.Objective(objective.name, objective.direction),
            hyperparameters=hyperparameters.of(space),
            allow_new_entries=False,
            tune_new_entries=True,
            seed=seed,
            **options,
        )
        self.space = space
        self.asked = objective
        self.max_trials = max_trials
        self.first = first
        self.seed = seed
        # keras-tuner adds 1 to this with each draw, so that two neighbouring seeds would share most of their draws.
        self._seed_state = seed << 32
        self.verbose = 0
        self._folder: pathlib.Path | None = None
        self._continued: set[str | None] = set()  # the trials that completed ones have continued
        self._leading: Trial | None = None  # the best of those that ended; None while it is not known

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the running trial of a tuner id, or a new one.

        The status of the new one is RUNNING; STOPPED if there are no more trials; or IDLE if there is none until others
        have ended.
        """
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        # keras-tuner pads by max_trials, so that raising it from 9 to 10 mixes two widths.
        trial_id = f"{len(self.trials):04d}"
        response: dict[str, Any] = {"status": TrialStatus.STOPPED}
        if self._may_begin():
            response = self.populate_space(trial_id)
        chosen = self.get_space()
        chosen.values = response.get("values") or {}
        trial = Trial(chosen, trial_id=trial_id, status=response["status"])
        if trial.status == TrialStatus.RUNNING:
            self._record_values(trial)
            self.ongoing_trials[tuner_id] = trial
            self.trials[trial_id] = trial
            self.start_order.append(trial_id)
            self._save_trial(trial)
            self.save()
        return trial

    def _may_begin(self) -> bool:
        """Tells whether there may be another trial."""
        return len(self.trials) < self.max_trials

    def took(self, trial_id: str, seconds: float) -> None:
        """Takes note of the seconds of a trial's trainings, before its end."""

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Records the figures of one execution; `end_trial` saves them."""
        trial = self.trials[trial_id]
        for name, value in metrics.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, direction=self.asked.direction)
            trial.metrics.update(name, value, step=step)
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, COMPLETED after `update_trial`, or FAILED with a message.

        A failure does not stop the search. keras-tuner stops it after three in a row, and leaves the last one RUNNING
        on the disk (oracle.py:588).
        """
        if trial.status == TrialStatus.COMPLETED:
            self.score_trial(trial)
            self._follow(trial)
        self._run_times[trial.trial_id] = 1
        self.end_order.append(trial.trial_id)
        self.ongoing_trials = {
            tuner_id: ongoing for tuner_id, ongoing in self.ongoing_trials.items() if ongoing.trial_id != trial.trial_id
        }
        self._save_trial(trial)
        self.save()

    def _follow(self, trial: Trial) -> None:
        """Takes a completed trial into account for the best one, without a look at all the others."""
        continued = trial.hyperparameters.values.get(PROMOTED_FROM)
        self._continued.add(continued)
        if self._leading and self._leading.trial_id == continued:
            self._leading = None
        elif self._leading:
            both = sorted([self._leading, trial], key=lambda each: each.trial_id)
            self._leading = self.asked.best(both, key=lambda each: each.score)

    def ended_by(self) -> str:
        """Returns which limit ended the search before it was over, in one line; "" if none did."""
        return ""

    def promotable(self) -> set[str]:
        """Returns the ids of the trials whose checkpoints other trials may still resume."""
        return set()

    def best(self) -> Best | None:
        """Returns the first of `outcomes.ranked(outcomes.final(...))`, from memory: no file is read."""
        if not self._leading:
            completed = (trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED)
            final = (trial for trial in completed if trial.trial_id not in self._continued)
            self._leading = self.asked.best(final, key=lambda trial: trial.score)
        found = self._leading
        return found and Best(found, found.score, len(found.metrics.get_history(self.objective.name)[0].value))

    def _record_values(self, trial: Trial) -> None:
        """Marks a trial's values as tried.

        keras-tuner's own method first drops the value of every name that is also under a condition that does not hold,
        such as a learning rate for each optimizer, and draws it again without a seed (hyperparameters.py:604).
        """
        values_hash = self._compute_values_hash(trial.hyperparameters.values)
        self._tried_so_far.add(values_hash)
        self._id_to_hash[trial.trial_id] = values_hash

    def _random_values(self) -> dict[str, Any] | None:
        """Returns values that were not tried before, or None if there are none left; at first those that were given.

        keras-tuner gives up after twenty draws of known values, which in a small space happens long before its end.
        """
        if self.first is not None and not self.trials:
            return dict(self.first)
        values = super()._random_values()
        if values is None and self.space.size() <= _MOST_LISTED:
            left = [values for values in self.space.combinations() if not self._duplicate(values)]
            if left:
                values = left[np.random.default_rng((self.seed, len(self.trials))).integers(len(left))]
        return values

    def open(self, directory: pathlib.Path) -> None:
        """Resumes the search in a folder, or starts one there.

        Raises:
          UserError: the files are damaged or missing.
        """
        self._folder = directory
        if (directory / _STATE).exists():
            self.reload()
        elif any(directory.glob("trial_*")):
            raise UserError(f"{directory / _STATE} is missing: restore it, or choose another --workdir")
        else:
            self.save()
        if not (directory / _TUNER).exists():
            files.write_json(directory / _TUNER, {})

    def save(self) -> None:
        """Saves all but the trials; does nothing without a folder."""
        if self._folder:
            # What was tried is in the trials, and would be most of a file that is written twice for each trial. The
            # number of runs is for keras-tuner's retries, which never happen here.
            state = {**self.get_state(), "tried_so_far": [], "id_to_hash": {}, "run_times": {}}
            files.write_json(self._folder / _STATE, state, compact=True)

    def _save_trial(self, trial: Trial) -> None:
        if self._folder:
            files.write_json(self._trial_file(trial.trial_id), trial.get_state())

    def reload(self) -> None:
        """Reads what `save` saved; a running trial starts again from its creation.

        Raises:
          UserError: a file is damaged or missing.
        """
        path = self._folder / _STATE
        state = with_present_names(files.read_json(path))
        files.checked(path, state, _State)
        started, ended = state["start_order"], state["end_order"]
        if len({*started}) < len(started) or len({*ended}) < len(ended) or not {*ended} <= {*started}:
            raise DamagedError(path, "start_order and end_order do not fit together")
        if sorted(state["ongoing_trials"].values()) != sorted({*started} - {*ended}):
            raise DamagedError(path, "ongoing_trials are not the trials without an end")
        self.trials = {trial_id: self._load_trial(trial_id) for trial_id in started}
        self._leading = None
        for trial_id, trial in self.trials.items():
            former = trial.hyperparameters.values.get(PROMOTED_FROM)
            if former not in (None, *started):
                raise DamagedError(self._trial_file(trial_id), f"{PROMOTED_FROM}={former!r} is no trial")
            if trial_id not in ended:
                self.trials[trial_id] = Trial(trial.hyperparameters, trial_id=trial_id, status=TrialStatus.RUNNING)
            elif trial.status not in (TrialStatus.COMPLETED, TrialStatus.FAILED):
                raise DamagedError(self._trial_file(trial_id), f"it has ended with the status {trial.status}")
            elif trial.status == TrialStatus.COMPLETED and trial.score is None:
                raise DamagedError(self._trial_file(trial_id), "it has completed without a score")
        try:
            self.set_state(state)
            for trial in self.trials.values():
                self._record_values(trial)
                if trial.status == TrialStatus.COMPLETED:
                    self._continued.add(trial.hyperparameters.values.get(PROMOTED_FROM))
        except Exception as error:  # whatever keras-tuner raises for a state that is not its own
            raise DamagedError(path, repr(error)) from error
        hyperparameters.check_stored(self.hyperparameters, self.space, path)
        # keras-tuner would count these trials, and never run them. Folders with other names are the user's.
        for folder in self._folder.glob(f"trial_{files.A_TRIAL}"):
            if folder.name.removeprefix("trial_") not in self.trials:
                shutil.rmtree(folder)

    def _load_trial(self, trial_id: str) -> Trial:
        path = self._trial_file(trial_id)
        state = trial_record.read(path)
        try:
            return Trial.from_state(with_present_names(state))
        except Exception as error:  # whatever keras-tuner raises for a state that is not its own
            raise DamagedError(path, repr(error)) from error

    def _trial_file(self, trial_id: str) -> pathlib.Path:
        return self._folder / f"trial_{trial_id}" / "trial.json"
