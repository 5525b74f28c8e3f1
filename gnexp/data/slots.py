"""Memory that processes share, by which arrays are handed over faster than through a pipe."""

import contextlib
import mmap
import multiprocessing.reduction
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

SIZE = 1 << 26  # bytes of a slot, of which only what is used takes memory
_ALIGNED = 64

Placed = list[tuple[tuple[int, ...], np.dtype]]  # the shape and the dtype of each array


class Slots:
    """Slots that are written in one process and read in another. They can be pickled only for a process being spawned.

    Nothing outlives the processes, whatever kills them: the memory has no name. Where the system has no such memory,
    no slot is ever free.

    Args:
      count: how many there are.
    """

    def __init__(self, count: int):
        self._file: int | None = None
        self._free: list[int] = []
        self._memory: mmap.mmap | None = None
        with contextlib.suppress(AttributeError, OSError):  # macOS; a sandbox
            self._file = os.memfd_create("gnexp")
            os.truncate(self._file, count * SIZE)
            self._free = list(range(count))

    def __del__(self):
        if self._file is not None:
            os.close(self._file)

    def __getstate__(self) -> dict[str, Any]:
        """Returns what the spawned process needs: it is told which slot to use, and takes none."""
        return {"file": None if self._file is None else multiprocessing.reduction.DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begins in the spawned process."""
        self._file, self._free, self._memory = state["file"] and state["file"].detach(), [], None

    def take(self, size: int) -> int | None:
        """Returns the number of a free slot, or None if all are taken or `size` bytes do not fit into one."""
        return self._free.pop() if self._free and size <= SIZE - 4 * _ALIGNED else None

    def give_back(self, slot: int) -> None:
        """Makes a slot free."""
        self._free.append(slot)

    def write(self, slot: int, arrays: Sequence[np.ndarray]) -> Placed:
        """Writes arrays, and returns what `read` needs to know of them."""
        placed = [(array.shape, array.dtype) for array in arrays]
        for view, array in zip(self._views(slot, placed), arrays, strict=True):
            view[...] = array
        return placed

    def read(self, slot: int, placed: Placed) -> list[np.ndarray]:
        """Returns copies of the arrays that were written to a slot."""
        return [view.copy() for view in self._views(slot, placed)]

    def _views(self, slot: int, placed: Placed) -> list[np.ndarray]:
        if self._memory is None:
            self._memory = mmap.mmap(self._file, 0)
        views, begin = [], slot * SIZE
        for shape, dtype in placed:
            views.append(np.ndarray(shape, dtype, self._memory, begin))
            begin += -(-views[-1].nbytes // _ALIGNED) * _ALIGNED
        return views
