"""Grid search."""

from collections.abc import Iterator, Mapping
from typing import Any

from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import GridSearchOracle

from gnexp.space.space import Space, key
from gnexp.sweeps.oracles.durable import Durable


class Grid(Durable, GridSearchOracle):
    """Grid search, in keras-tuner's order: the last hyperparameter changes fastest.

    keras-tuner's own keeps its place in a list that it does not save (KeyError on resuming, gridsearch.py:197), and
    knows only one range for a name that has several under different conditions. Here the place is the number of the
    trial, so that max_trials can also be raised after the end.
    """

    def __init__(self, space: Space, **options):
        super().__init__(space, **options)
        self._left: Iterator[Mapping[str, Any]] | None = None  # the combinations without a trial

    def reload(self) -> None:
        """Reads what was saved."""
        super().reload()
        self._left = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next combination."""
        if self._left is None:
            tried = {key(trial.hyperparameters.values) for trial in self.trials.values()}
            self._left = (values for values in self.space.grid_from(self.first) if key(values) not in tried)
        values = next(self._left, None)
        if values is None:
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(values)}
