"""The examples of a split batch by batch, read ahead of their use where they are not in memory."""

import collections
from collections.abc import Iterator

import numpy as np

from gnexp.data.columns import Column
from gnexp.data.readers import Processes, Threads
from gnexp.data.splits import Split

_CHUNK = 1 << 23  # bytes that are looked at together
_AHEAD = 1 << 28  # bytes that are read ahead


def batches(split: Split, order: np.ndarray, start: int = 0) -> Iterator[Split]:
    """Yields the batches of an epoch, as arrays in memory.

    What they hold depends only on the order, however many processes read it.

    Args:
      split: the examples.
      order: int32 array of shape (steps, batch size): the examples of each step.
      start: the first step.

    Raises:
      KilledError: a process that reads was killed.
      FunctionError: an example cannot be read.
      UserError: it is not as the others.
    """
    if split.in_memory:
        for rows in order[start:]:
            yield split.part(rows)
        return
    if split.readers:
        yield from _read(split, order[start:], split.readers)
        return
    threads = Threads()
    try:
        yield from _read(split, order[start:], threads)
    finally:
        threads.close()


def in_order(split: Split, size: int) -> Iterator[Split]:
    """Yields all examples of a split in order, `size` at a time; the last batch may be smaller."""
    whole = len(split) // size
    order = np.arange(len(split), dtype=np.int32)
    yield from batches(split, order[: whole * size].reshape(whole, size))
    if whole * size < len(split):
        yield from batches(split, order[np.newaxis, whole * size :])


def first(split: Split, count: int) -> Split:
    """Returns the first examples of a split, as arrays in memory."""
    return next(batches(split, np.arange(min(count, len(split)), dtype=np.int32)[np.newaxis]))


def chunk(split: Split) -> int:
    """Returns how many examples may be looked at together."""
    return max(1, _CHUNK // _size(split))


def _size(split: Split) -> int:
    """Returns the bytes of an example."""
    return max(1, sum(int(np.prod(each.shape[1:])) * each.dtype.itemsize for each in parts(split) if each is not None))


def parts(split: Split) -> tuple[np.ndarray | Column | None, ...]:
    """Returns inputs, targets and weights."""
    return split.inputs, split.targets, split.weights


def _read(split: Split, order: np.ndarray, readers: Threads | Processes) -> Iterator[Split]:
    columns = [column for column in parts(split) if isinstance(column, Column)]
    ahead = max(2, min(2 * readers.count + 1, _AHEAD // max(1, _size(split) * order.shape[1])))
    waiting: collections.deque = collections.deque()

    def first() -> Split:
        rows, reading = waiting.popleft()
        found = iter(reading.result())
        each = (next(found) if isinstance(part, Column) else part is not None and part[rows] for part in parts(split))
        return Split(*(None if part is False else part for part in each))

    try:
        for rows in order:
            waiting.append((rows, readers.submit(columns, rows)))
            if len(waiting) >= ahead:
                yield first()
        while waiting:
            yield first()
    finally:
        for _, reading in waiting:
            reading.cancel()
