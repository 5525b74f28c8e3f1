"""A dataset in the form that a training needs.

Images are uint8 arrays of shape (n, 28, 28, 1), labels are int32 arrays of shape (n,).
"""

import dataclasses

import numpy as np

from gnexp.errors import UserError

SHAPE = (28, 28, 1)


@dataclasses.dataclass(frozen=True)
class Splits:
    """One dataset, ready to train on.

    Attributes:
      train, validation, test: pairs (images, labels).
      labels: the name of each class.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    labels: tuple[str, ...]


class UnavailableError(UserError):
    """A dataset is not on this machine and cannot be downloaded."""
