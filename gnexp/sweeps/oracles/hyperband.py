"""Hyperband."""

from typing import Any

from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import HyperbandOracle

from gnexp.space.space import Space
from gnexp.sweeps.oracles.durable import Durable


class Hyperband(Durable, HyperbandOracle):
    """Hyperband: brackets follow each other until max_trials is reached.

    After failures keras-tuner's own promotes too few trials, or none. Into the trials that it promotes in an older
    bracket, it writes the number of the current one.
    """

    def __init__(self, space: Space, **options):
        super().__init__(space, hyperband_iterations=10**9, **options)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns new values for the first round of a bracket, or those of the best trial that can be promoted."""
        self._brackets = [bracket for bracket in self._brackets if not self._complete(bracket)]
        for bracket in self._brackets:
            if len(bracket["rounds"][0]) < self._sizes(bracket)[0]:
                if values := self._random_values():
                    return self._begin(trial_id, bracket, values)
                bracket["exhausted"] = True  # The space has no more: continue with these.
            if promoted := self._promote(trial_id, bracket):
                return {"status": TrialStatus.RUNNING, "values": promoted}
        if self.ongoing_trials and self._brackets:
            # Their results may lead to promotions, which come before another bracket.
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
                best = self.asked.best(ready, key=lambda trial: trial.score)
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
        """Returns how many trials each round gets: as many as hyperband plans, or as many as there can be.

        The first round has fewer if the space has no more values, and a later one after failures in the one before.
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
        """Returns the ids of the trials whose checkpoints other trials may still resume."""
        needed = {trial.hyperparameters.values.get("tuner/trial_id") for trial in self.ongoing_trials.values()}
        for bracket in self._brackets:
            sizes = self._sizes(bracket)
            for index in range(1, len(sizes)):
                if len(bracket["rounds"][index]) < sizes[index]:
                    needed |= {info["id"] for info in bracket["rounds"][index - 1]}
        return needed - {None}
