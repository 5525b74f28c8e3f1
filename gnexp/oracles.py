"""keras-tuner's oracles, made durable: every defect of keras-tuner 1.4.8 that a sweep would meet is mended here.

An oracle chooses the trials. Its files are keras-tuner's own, in keras-tuner's own format, so that a plain
`keras_tuner.RandomSearch(..., directory=workdir, project_name="oracle")` opens them.

What makes them outlast a kill at any instant: each file is replaced, never written in place, and `oracle.json` alone
says what happened. A trial that it does not list was never created; one whose end it does not list is still to be
ended. The functions of keras-tuner that write are all overridden: they are also those that leak its lock when they
raise (engine/oracle.py `synchronized`), and warn of a deprecated function of `threading`.
"""

import pathlib
import shutil
import warnings
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle
from ml_collections import ConfigDict

from gnexp import hyperparameters, workdir
from gnexp.config.objective import OBJECTIVES
from gnexp.errors import UserError
from gnexp.space.space import Space

_STATE = "oracle.json"
# keras-tuner starts everything anew, over what is there, where this file is missing.
_TUNER = "tuner0.json"
_RANDOM_POINTS_PER_HYPERPARAMETER = 2
_CANDIDATES = 200
_MOST_LISTED = 100_000


class _Durable:
    """What all the oracles share; comes before keras-tuner's class among the bases.

    Args:
      space: the search space.
      objective: the figure that is optimized, a name in `config.objective.OBJECTIVES`.
      max_trials: how many trials there are to be.
      seed: any whole number; keras-tuner takes 0 for "at random" (oracle.py:350).
      **options: of the keras-tuner class.
    """

    def __init__(self, space: Space, objective: str, max_trials: int, seed: int, **options):
        """Starts with no trials, in no folder."""
        super().__init__(
            # By itself keras-tuner guesses the direction, and guesses val_f1_score to be minimized.
            objective=keras_tuner.Objective(objective, OBJECTIVES[objective].direction),
            hyperparameters=hyperparameters.of(space),
            allow_new_entries=False,
            tune_new_entries=True,
            seed=seed,
            **options,
        )
        self.space = space
        self.max_trials = max_trials
        self.seed = seed
        # keras-tuner counts this up from the seed, draw by draw, so that two seeds would share most of their draws.
        self._seed_state = seed << 32
        self.verbose = 0
        self._folder: pathlib.Path | None = None

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the trial under way for a tuner id, or a new one; its status may be STOPPED or IDLE instead."""
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        # keras-tuner pads by max_trials, so that raising it from 9 to 10 mixes two widths.
        trial_id = f"{len(self.trials):04d}"
        response: dict[str, Any] = {"status": TrialStatus.STOPPED}
        if len(self.trials) < self.max_trials:
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

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Notes one execution's figures; `end_trial` saves them."""
        trial = self.trials[trial_id]
        for name, value in metrics.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, direction=OBJECTIVES[name].direction)
            trial.metrics.update(name, value, step=step)
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, COMPLETED after `update_trial`, or FAILED with a message.

        A failure is the trial's own: keras-tuner gives the whole search up after three in a row, and leaves the last
        one RUNNING on the disk (oracle.py:588).
        """
        if trial.status == TrialStatus.COMPLETED:
            self.score_trial(trial)
        self._run_times[trial.trial_id] = 1
        self.end_order.append(trial.trial_id)
        self.ongoing_trials = {
            tuner_id: ongoing for tuner_id, ongoing in self.ongoing_trials.items() if ongoing.trial_id != trial.trial_id
        }
        self._save_trial(trial)
        self.save()

    def promotable(self) -> set[str]:
        """Returns the ids of the trials from whose checkpoints others may yet go on."""
        return set()

    def _record_values(self, trial: Trial) -> None:
        """Notes that a trial's values are had.

        keras-tuner's own first drops the value of every name that also stands under a condition that does not hold,
        a learning rate for each optimizer say, and draws it anew without a seed (hyperparameters.py:604).
        """
        values_hash = self._compute_values_hash(trial.hyperparameters.values)
        self._tried_so_far.add(values_hash)
        self._id_to_hash[trial.trial_id] = values_hash

    def _random_values(self) -> dict[str, Any] | None:
        """Returns values not had before, or None where there are none left.

        keras-tuner gives up after twenty draws of known values, which in a small space happens long before its end.
        """
        values = super()._random_values()
        if values is None and self.space.size() <= _MOST_LISTED:
            left = [values for values in self.space.combinations() if not self._duplicate(values)]
            if left:
                values = left[np.random.default_rng((self.seed, len(self.trials))).integers(len(left))]
        return values

    def open(self, directory: pathlib.Path) -> None:
        """Takes up what lies in a folder, or begins there.

        Raises:
          UserError: the files are damaged.
        """
        self._folder = directory
        if (directory / _STATE).exists():
            self.reload()
        elif any(directory.glob("trial_*")):
            raise UserError(f"{directory / _STATE} is missing: restore it, or choose another --workdir")
        else:
            self.save()
        if not (directory / _TUNER).exists():
            workdir.write_json(directory / _TUNER, {})

    def save(self) -> None:
        """Saves all but the trials; an oracle in no folder has nothing to save."""
        if self._folder:
            workdir.write_json(self._folder / _STATE, self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        if self._folder:
            workdir.write_json(self._trial_file(trial.trial_id), trial.get_state())

    def reload(self) -> None:
        """Reads what `save` saved; trials under way are as if they had just been created."""
        path = self._folder / _STATE
        state = workdir.read_json(path)
        try:
            self.trials = {trial_id: self._load_trial(trial_id) for trial_id in state["start_order"]}
            for trial_id in set(self.trials) - set(state["end_order"]):
                trial = self.trials[trial_id]
                self.trials[trial_id] = Trial(trial.hyperparameters, trial_id=trial_id, status=TrialStatus.RUNNING)
            self.set_state(state)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error!r}): restore it, or choose another --workdir") from error
        # keras-tuner would count them, and never run them.
        for folder in self._folder.glob("trial_*"):
            if folder.name.removeprefix("trial_") not in self.trials:
                shutil.rmtree(folder)

    def _load_trial(self, trial_id: str) -> Trial:
        state = workdir.read_json(self._trial_file(trial_id))
        if state is None:
            raise UserError(f"{self._trial_file(trial_id)} is missing: restore it, or choose another --workdir")
        return Trial.from_state(state)

    def _trial_file(self, trial_id: str) -> pathlib.Path:
        return self._folder / f"trial_{trial_id}" / "trial.json"


class _Random(_Durable, RandomSearchOracle):
    """Random search."""


class _Grid(_Durable, GridSearchOracle):
    """Grid search, in keras-tuner's order: the last hyperparameter changes fastest.

    keras-tuner's own keeps its place in a list that it does not save (KeyError on resuming, gridsearch.py:197), and
    knows one range only for a name that has several, under different conditions. Here the place is the number of the
    trial, which also lets max_trials be raised after the end.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next combination."""
        number = len(self.trials)
        for index, values in enumerate(self.space.grid()):
            if index == number:
                return {"status": TrialStatus.RUNNING, "values": values}
        return {"status": TrialStatus.STOPPED}


class _Bayesian(_Durable, BayesianOptimizationOracle):
    """Bayesian optimization with a Gaussian process.

    keras-tuner's own draws three random points for each hyperparameter, counting one for every optimizer's learning
    rate, does not save its random state (bayesian.py:180), and repeats configurations (:174-204).
    """

    def __init__(self, space: Space, **options):
        """Starts with no trials."""
        super().__init__(space, num_initial_points=_RANDOM_POINTS_PER_HYPERPARAMETER * len(space.searched), **options)
        self.gpr = self._make_gpr()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns what the Gaussian process expects most of, among what was not tried."""
        self._random_state = np.random.RandomState((self.seed, len(self.trials)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of kernels at the edge of their bounds
            response = super().populate_space(trial_id)
            if response.get("values") and self._duplicate(response["values"]):
                response = self._best_untried()
        return response

    def _vectorize_trials(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the points and scores that the Gaussian process is fitted to, lower scores being better.

        keras-tuner leaves failed trials out, and then proposes the place of the last failure for ever. Here a failure
        is as bad as the worst of the others.
        """
        points, scores = super()._vectorize_trials()
        failed = [
            self._vector(trial.hyperparameters.values)
            for trial in self.trials.values()
            if trial.status == TrialStatus.FAILED
        ]
        if failed:
            points = np.concatenate([points, failed])
            scores = np.concatenate([scores, np.full(len(failed), scores.max())])
        return points, scores

    def _best_untried(self) -> dict[str, Any]:
        drawn = [self._random_values() for _ in range(_CANDIDATES)]
        candidates = {self._compute_values_hash(values): values for values in drawn if values is not None}
        if not candidates:
            return {"status": TrialStatus.STOPPED}
        values = list(candidates.values())
        mean, deviation = self.gpr.predict(np.array([self._vector(each) for each in values]), return_std=True)
        return {"status": TrialStatus.RUNNING, "values": values[int(np.argmin(mean - self.beta * deviation))]}

    def _vector(self, values: dict[str, Any]) -> list[float]:
        chosen = self.get_space()
        chosen.values = values
        return [
            hp.value_to_prob(values[hp.name] if chosen.is_active(hp) and hp.name in values else hp.default)
            for hp in self._nonfixed_space()
        ]


class _Hyperband(_Durable, HyperbandOracle):
    """Hyperband: brackets follow each other until max_trials is reached.

    keras-tuner's own promotes fewer trials than it should after failures, or none, and writes the bracket that is
    current by then into the trials that it promotes in an older one.
    """

    def __init__(self, space: Space, **options):
        """Starts with no trials."""
        super().__init__(space, hyperband_iterations=10**9, **options)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the best trial that waits for its promotion, or else new values for the first round."""
        self._brackets = [bracket for bracket in self._brackets if not self._complete(bracket)]
        for bracket in self._brackets:
            if len(bracket["rounds"][0]) < self._sizes(bracket)[0]:
                if values := self._random_values():
                    return self._begin(trial_id, bracket, values)
                bracket["exhausted"] = True  # The space has no more: go on with those that there are.
            if promoted := self._promote(trial_id, bracket):
                return {"status": TrialStatus.RUNNING, "values": promoted}
        if self.ongoing_trials and self._brackets:
            # What they give may be promoted before another bracket is begun.
            return {"status": TrialStatus.IDLE}
        if (values := self._random_values()) is None:
            return {"status": TrialStatus.STOPPED}
        self._increment_bracket_num()
        self._start_new_bracket()
        return self._begin(trial_id, self._brackets[-1], values)

    def _begin(self, trial_id: str, bracket: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        number = bracket["bracket_num"]
        bracket["rounds"][0].append({"past_id": None, "id": trial_id})
        rung = {
            "tuner/epochs": self._get_epochs(number, 0),
            "tuner/initial_epoch": 0,
            "tuner/bracket": number,
            "tuner/round": 0,
        }
        return {"status": TrialStatus.RUNNING, "values": {**values, **rung}}

    def _promote(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any] | None:
        number, rounds, sizes = bracket["bracket_num"], bracket["rounds"], self._sizes(bracket)
        for index in range(1, len(rounds)):
            taken = {info["past_id"] for info in rounds[index]}
            past = [self.trials[info["id"]] for info in rounds[index - 1]]
            ready = [trial for trial in past if trial.status == TrialStatus.COMPLETED and trial.trial_id not in taken]
            left_behind = sizes[index - 1] - sum(trial.status == TrialStatus.FAILED for trial in past) - sizes[index]
            if len(rounds[index]) < sizes[index] and len(ready) > left_behind:
                best = OBJECTIVES[self.objective.name].best(ready, key=lambda trial: trial.score)
                rounds[index].append({"past_id": best.trial_id, "id": trial_id})
                return {
                    **best.hyperparameters.values,
                    "tuner/trial_id": best.trial_id,
                    "tuner/epochs": self._get_epochs(number, index),
                    "tuner/initial_epoch": self._get_epochs(number, index - 1),
                    "tuner/bracket": number,
                    "tuner/round": index,
                }
        return None

    def _sizes(self, bracket: dict[str, Any]) -> list[int]:
        """Returns how many trials each round gets: as many as are meant, but no more than there can be.

        Of the first there are too few where the space has no more values, of a later one after failures in that before.
        """
        sizes = []
        for index in range(len(bracket["rounds"])):
            size = self._get_size(bracket["bracket_num"], index)
            if index == 0 and bracket.get("exhausted"):
                size = len(bracket["rounds"][0])
            elif index:
                before = bracket["rounds"][index - 1]
                failed = sum(self.trials[info["id"]].status == TrialStatus.FAILED for info in before)
                size = min(size, sizes[-1] - failed)
            sizes.append(size)
        return sizes

    def _complete(self, bracket: dict[str, Any]) -> bool:
        return all(len(ids) >= size for ids, size in zip(bracket["rounds"], self._sizes(bracket), strict=True))

    def promotable(self) -> set[str]:
        """Returns the ids of the trials from whose checkpoints others may yet go on."""
        needed = {trial.hyperparameters.values.get("tuner/trial_id") for trial in self.ongoing_trials.values()}
        for bracket in self._brackets:
            sizes = self._sizes(bracket)
            for index in range(1, len(sizes)):
                if len(bracket["rounds"][index]) < sizes[index]:
                    needed |= {info["id"] for info in bracket["rounds"][index - 1]}
        return needed - {None}


def create(config: ConfigDict, space: Space):
    """Returns the oracle that a sweep's config asks for, a `keras_tuner.Oracle` in no folder yet."""
    sweep = config.sweep
    options = {
        "space": space,
        "objective": config.objective,
        "max_trials": sweep.max_trials,
        "seed": sweep.seed,
    }
    match sweep.tuner:
        case "random":
            return _Random(**options)
        case "grid":
            return _Grid(**options)
        case "bayesian":
            return _Bayesian(**options)
        case "hyperband":
            return _Hyperband(**options, max_epochs=config.epochs, factor=sweep.factor)
    raise ValueError(f"tuner={sweep.tuner!r}")


def first(config: ConfigDict, space: Space, count: int) -> list[dict[str, Any]]:
    """Returns the values of a sweep's first trials, as far as they do not hang on what comes of others."""
    oracle = create(config, space)
    trials = [oracle.create_trial(f"tuner{number}") for number in range(count)]
    return [trial.hyperparameters.values for trial in trials if trial.status == TrialStatus.RUNNING]
