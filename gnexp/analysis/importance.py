"""How important each hyperparameter of a sweep is, by a random forest; scikit-learn takes a second to import."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from gnexp.analysis.coding import ranks
from gnexp.analysis.outcomes import EPOCHS
from gnexp.analysis.sweep import Swept

_FEWEST = 10  # completed trials, for a forest to be fitted
_LOWEST_R2 = 0.2  # of trials that it was not fitted to, below which it does not hold
_SHUFFLES = 10


@dataclasses.dataclass(frozen=True)
class Importance:
    """The hyperparameters of a sweep, the most important first.

    Attributes:
      left_out: why there is nothing to say; "" if there is, and only then the rest says something.
      text: what was done, and how well the forest fits.
      paths: the hyperparameters.
      means, spreads: by how much shuffling each lowers the R2, and the standard deviation over the shuffles.
    """

    left_out: str = ""
    text: str = ""
    paths: Sequence[str] = ()
    means: Sequence[float] = ()
    spreads: Sequence[float] = ()


def importance(sweep: Swept) -> Importance:
    """Returns the importance of what a sweep searches for the score of its completed trials."""
    completed, paths = len(sweep.best), sweep.space.searched
    scores = [trial.mean for trial in sweep.best]
    if completed < _FEWEST:
        return Importance(f"it takes {_FEWEST} completed trials, and this sweep has {completed}")
    if len(set(scores)) == 1:
        return Importance("all trials have the same score")
    # Hyperband trains some for fewer epochs, which is not to be taken for what other hyperparameters do.
    names = [*paths, *([EPOCHS] if any(EPOCHS in trial.values for trial in sweep.best) else [])]
    columns = np.column_stack([ranks([trial.values.get(name) for trial in sweep.best]) for name in names])
    forest = RandomForestRegressor(n_estimators=100, oob_score=True, random_state=0).fit(columns, scores)
    if forest.oob_score_ < _LOWEST_R2:
        return Importance(
            f"a random forest explains {forest.oob_score_:.2f} of the variance (R\N{SUPERSCRIPT TWO}) of trials that "
            f"it was not fitted to, and {_LOWEST_R2} are needed"
        )
    found = permutation_importance(forest, columns, scores, n_repeats=_SHUFFLES, random_state=0)
    order = np.argsort(-found.importances_mean[: len(paths)], kind="stable")
    text = (
        f"A random forest was fitted to the {completed} completed trials. Shuffling the column of an important "
        f"hyperparameter spoils its predictions; the spread is the standard deviation over {_SHUFFLES} shuffles. "
        "Of scores that it was not fitted to, the forest explains this share of the variance (out-of-bag "
        f"R\N{SUPERSCRIPT TWO}): {forest.oob_score_:.2f}."
    )
    if any(entry.when for entry in sweep.space.entries):
        text += " A hyperparameter and another whose range depends on it share their importance."
    return Importance(
        text=text,
        paths=[paths[index] for index in order],
        means=found.importances_mean[order].tolist(),
        spreads=found.importances_std[order].tolist(),
    )
