"""Which examples are held out of those that a dataset has for training."""

import numpy as np


def order(targets: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Returns an order of examples in which every beginning has about the same share of each class.

    Args:
      targets: int32 array of shape (n,): the class of each example; anything else is not told apart.
      count: how many examples there are.
      seed: 0 or more; -1 for the last example first, and so on.

    Returns:
      Their indices. What is held out is taken from the front.
    """
    if seed == -1:
        return np.arange(count)[::-1]
    random = np.random.default_rng(seed)
    shuffled = random.permutation(count)
    if targets is None or targets.ndim != 1 or targets.dtype.kind != "i":
        return shuffled
    classes = targets[shuffled]
    by_class = np.argsort(classes, kind="stable")
    _, sizes = np.unique(classes, return_counts=True)
    place = np.empty(count)  # of each example in its class, from 0 to 1
    place[by_class] = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes]) if count else []
    return shuffled[np.argsort(place, kind="stable")]
