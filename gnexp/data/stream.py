"""Reads the examples of a split batch by batch, ahead of their use."""

import collections
import concurrent.futures
import os
from collections.abc import Iterator, Sequence

import numpy as np

from gnexp.data.columns import Column, example
from gnexp.data.splits import Split

_CHUNK = 1 << 24  # bytes
_AHEAD = 4  # batches


def batches(split: Split, order: np.ndarray, start: int = 0) -> Iterator[Split]:
    """Yields the batches of an epoch, as arrays in memory.

    Args:
      split: the examples.
      order: int32 array of shape (steps, batch size): the examples of each step.
      start: the first step.
    """
    if split.in_memory:
        for rows in order[start:]:
            yield split.part(rows)
        return
    reader = Reader(split)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting = collections.deque()
        try:
            for rows in order[start:]:
                waiting.append((rows, pool.submit(reader, rows)))
                if len(waiting) > threads + _AHEAD:
                    yield _joined(split, *waiting.popleft())
            while waiting:
                yield _joined(split, *waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def in_order(split: Split, size: int) -> Iterator[Split]:
    """Yields all examples of a split in their order, so many at a time; the last batch may be smaller."""
    whole = len(split) // size
    order = np.arange(len(split))
    yield from batches(split, order[: whole * size].reshape(whole, size))
    if whole * size < len(split):
        yield from batches(split, order[np.newaxis, whole * size :])


def chunk(split: Split) -> int:
    """Returns how many examples may be looked at together."""
    return max(1, _CHUNK // max(1, split.inputs[:1].nbytes + split.targets[:1].nbytes))


class Reader:
    """Reads what of a split is not in memory.

    Args:
      split: the split.
    """

    def __init__(self, split: Split):
        self._columns = [column for column in parts(split) if isinstance(column, Column)]

    def __call__(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Returns the columns of some rows of the split, as arrays."""
        column = self._columns[0]
        examples = [example(column.source, int(row), column.where) for row in column.rows[np.asarray(rows)]]
        return [each.convert(examples) for each in self._columns]


def parts(split: Split) -> tuple:
    """Returns inputs, targets and weights."""
    return split.inputs, split.targets, split.weights


def _joined(split: Split, rows: np.ndarray, read: concurrent.futures.Future) -> Split:
    """Returns a batch: what has been read, and what is in memory."""
    found = iter(read.result())
    return Split(
        *(next(found) if isinstance(each, Column) else None if each is None else each[rows] for each in parts(split))
    )
