"""Arrays as a source of examples: in memory, or rows of a file that are read one by one."""

import os
from collections.abc import Sequence

import numpy as np


class Rows:
    """The rows of an array in a file, which take memory only while they are used.

    A memory-mapped array would count towards this process's memory with every page that was ever touched.

    Args:
      array: a memory-mapped array, or a part of one whose rows follow each other.
    """

    def __init__(self, array: np.memmap):
        whole = array
        while isinstance(whole.base, np.memmap):
            whole = whole.base
        begin = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        self.shape, self.dtype = array.shape, array.dtype
        self._path, self._offset = os.fspath(whole.filename), whole.offset + begin
        self._size = array[:1].nbytes
        self._file: int | None = None

    def __len__(self) -> int:
        """Returns the number of rows."""
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        """Reads a row."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY)
        content = os.pread(self._file, self._size, self._offset + index * self._size)
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def __getstate__(self):
        """Leaves out the open file, which is this process's own."""
        return {**self.__dict__, "_file": None}

    def __del__(self):
        if self.__dict__.get("_file") is not None:
            os.close(self._file)


class Arrays:
    """Inputs, targets and perhaps weights in arrays, as a source of examples.

    Args:
      arrays: of the same length.

    Attributes:
      arrays: the same.
      targets: the targets if they are in memory, otherwise None.
    """

    def __init__(self, arrays: Sequence[np.ndarray]):
        self.arrays = arrays
        self.targets = None if is_mapped(arrays[1]) else arrays[1]
        self._rows = [Rows(array) if is_mapped(array) else array for array in arrays]

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple:
        """Returns an example."""
        return tuple(rows[index] for rows in self._rows)

    def __getstate__(self):
        """Leaves out the arrays that are read from their files."""
        return {**self.__dict__, "arrays": ()}


def is_mapped(array: np.ndarray) -> bool:
    """Tells whether an array is memory-mapped from a file, with its rows stored one after the other."""
    return isinstance(array, np.memmap) and array.flags.c_contiguous and bool(array.size) and array.filename is not None
