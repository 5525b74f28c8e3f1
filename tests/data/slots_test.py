"""Examples come whole from the processes that read them, whether or not the memory that is shared has room."""

import concurrent.futures
import contextlib
import gc
import pathlib

import numpy as np
import pytest

from gnexp.data import slots
from gnexp.data.columns import INPUTS, TARGETS, Column
from gnexp.data.readers import Processes
from gnexp.errors import KilledError, UserError
from tests.support import faults

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


@pytest.mark.parametrize("fits", [True, False])
def test_what_fits_a_slot_and_what_does_not_are_handed_over_whole(monkeypatch, fits):
    side, count = 9, 15
    if not fits:
        monkeypatch.setattr(slots, "SIZE", 400)
    source = Counted(side)
    columns = [Column(source, number, "train") for number in (INPUTS, TARGETS)]
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


def shared() -> int:
    """Returns how many descriptors of shared memory this process has."""
    gc.collect()
    found = 0
    for descriptor in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found += "memfd:gnexp" in str(descriptor.readlink())
    return found


@pytest.mark.skipif(not faults.HAS_PROC, reason="looks for descriptors in /proc")
def test_a_killed_process_is_noticed_wherever_and_others_take_its_place():
    source = Counted(9)
    columns = [Column(source, number, "train") for number in (INPUTS, TARGETS)]
    readers, rows = Processes([source]), np.arange(4)
    check(readers.submit(columns, rows).result(), rows, 9)
    before = shared()
    assert before
    for _ in range(3):
        for process in list(readers._pool._processes.values()):
            process.kill()
            process.join()
        with pytest.raises(KilledError, match="was killed"):
            while True:  # It is noticed by a result, or by the next call.
                readers.submit(columns, rows).result()
        check(readers.submit(columns, rows).result(), rows, 9)
    faults.until(lambda: shared() <= before, seconds=20)  # What belonged to the killed ones is given back.


def test_a_slot_that_is_still_written_to_is_not_given_away():
    source = Counted(9)
    columns = [Column(source, number, "train") for number in (INPUTS, TARGETS)]
    readers = Processes([source])
    reading, running = readers.submit(columns, np.arange(3)), concurrent.futures.Future()
    reading._future.result()
    running.set_running_or_notify_cancel()
    reading._future = running
    reading.cancel()
    assert reading._slot not in readers._slots._free
    running.set_result(None)
    assert reading._slot in readers._slots._free


def test_without_such_memory_the_examples_come_all_the_same(monkeypatch):
    monkeypatch.delattr("os.memfd_create")
    source = Counted(5)
    readers = Processes([source])
    assert readers.submit([Column(source, number, "train") for number in (INPUTS, TARGETS)], np.arange(4)).result()
    assert readers._slots.take(1) is None
