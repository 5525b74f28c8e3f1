"""Examples come whole from the processes that read them, whether or not the memory that is shared has room."""

import numpy as np
import pytest

from gnexp.data import slots
from gnexp.data.columns import INPUTS, TARGETS, Column
from gnexp.data.readers import Processes
from gnexp.errors import UserError

pytestmark = pytest.mark.any_backend


class Counted:
    """Examples that are told apart by what they hold; the last one cannot be read."""

    def __init__(self, side: int):
        self.side = side

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.float32]:
        if index == 99:
            raise UserError("99 is missing")
        return np.full((self.side, self.side), index, np.uint8), np.float32(index / 7)


def check(read: list[np.ndarray], rows: np.ndarray, side: int) -> None:
    """Asserts that inputs and targets are those of the rows."""
    inputs, targets = read
    assert inputs.shape == (len(rows), side, side, 1) and inputs.dtype == np.uint8
    np.testing.assert_array_equal(inputs, np.broadcast_to(rows[:, None, None, None], inputs.shape))
    np.testing.assert_array_equal(targets.ravel(), (rows / np.float32(7)).astype(np.float32))


@pytest.mark.parametrize(("side", "count"), [(9, 15), (2400, 3)])
def test_what_fits_a_slot_and_what_does_not_are_handed_over_whole(side, count):
    source = Counted(side)
    columns = [Column(source, number, "train") for number in (INPUTS, TARGETS)]
    assert (3 * side * side > slots.SIZE) == (side == 2400)
    readers = Processes([source])
    batches = [np.array([number, number + 7, number + 3]) for number in range(count)]
    readings = [readers.submit(columns, rows) for rows in batches]  # of the small ones more than there are slots
    for reading, rows in zip(readings, batches, strict=True):
        check(reading.result(), rows, side)

    given_up = [readers.submit(columns, rows) for rows in batches]
    for reading in given_up:
        reading.cancel()
    with pytest.raises(UserError, match="99 is missing"):
        readers.submit(columns, np.array([1, 99])).result()
    for rows in batches:
        check(readers.submit(columns, rows).result(), rows, side)
    taken = [readers._slots.take(1) for _ in range(2 * readers.count + 1)]
    assert sorted(taken) == list(range(len(taken)))  # none was lost, and none is there twice


def test_without_such_memory_the_examples_come_all_the_same(monkeypatch):
    monkeypatch.delattr("os.memfd_create")
    source = Counted(5)
    readers = Processes([source])
    assert readers.submit([Column(source, number, "train") for number in (INPUTS, TARGETS)], np.arange(4)).result()
    assert readers._slots.take(1) is None
