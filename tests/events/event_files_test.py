"""Event files: TensorBoard reads back every added event once, wherever the writer died."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from gnexp.errors import DamagedError
from gnexp.events import summaries
from gnexp.events.event_files import EventFiles

pytestmark = pytest.mark.any_backend


def _read(directory, run=""):
    """Returns (step, tag, value) of every scalar in a run, as TensorBoard's own loader reads them."""
    found = []
    for path in sorted((directory / run).glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.append((event.step, value.tag, float(tensor_util.make_ndarray(value.tensor))))
    return found


def _note(events: EventFiles, steps) -> None:
    for step in steps:
        events.add("", summaries.scalar("loss", step / 2), step)
        events.add("train", summaries.scalar("accuracy", step / 4), step)


def test_tensorboard_reads_back_what_was_written(tmp_path):
    events = EventFiles(tmp_path)
    _note(events, range(3))
    assert list(tmp_path.iterdir()) == []  # nothing before write
    events.write()
    assert _read(tmp_path) == [(0, "loss", 0.0), (1, "loss", 0.5), (2, "loss", 1.0)]
    assert _read(tmp_path, "train") == [(0, "accuracy", 0.0), (1, "accuracy", 0.25), (2, "accuracy", 0.5)]


def test_no_event_is_lost_or_written_twice_wherever_the_writing_stopped(tmp_path):
    """Cuts the files to every length that a death in the middle of write() could leave, and resumes from there."""
    whole = tmp_path / "whole"
    events = EventFiles(whole)
    _note(events, range(2))
    events.write()
    _note(events, [2])
    state = events.state()
    before = dict(state["sizes"])
    events.write()
    files = {run: next((whole / run).glob("events*")) for run in ("", "train")}
    contents = {run: path.read_bytes() for run, path in files.items()}
    for number, cut in enumerate(range(before[""], len(contents[""]) + 1)):
        directory = tmp_path / str(number)
        for run, size in (
            ("", cut),
            ("train", len(contents["train"]) if cut == len(contents[""]) else before["train"]),
        ):
            (directory / run).mkdir(parents=True, exist_ok=True)
            (directory / run / files[run].name).write_bytes(contents[run][:size])
        resumed = EventFiles(directory, state)
        for run, content in contents.items():
            assert (directory / run / files[run].name).read_bytes() == content
        _note(resumed, [3])
        resumed.write()
        assert [step for step, _, _ in _read(directory)] == [0, 1, 2, 3]


def test_a_failure_is_read_after_the_rest_and_can_be_taken_back(tmp_path):
    events = EventFiles(tmp_path)
    _note(events, [0])
    events.write()
    events.write_failure(summaries.scalar("end", -1.0))
    assert _read(tmp_path) == [(0, "loss", 0.0), (0, "end", -1.0)]
    EventFiles(tmp_path, events.state()).forget_failure()
    assert _read(tmp_path) == [(0, "loss", 0.0)]


def test_a_full_disk_in_the_middle_of_writing_is_repaired_later(tmp_path, monkeypatch):
    events = EventFiles(tmp_path)
    _note(events, [0])
    state = events.state()
    path = type(tmp_path)
    real = path.open
    full = itertools.count()

    def failing(self, *arguments, **options):
        if next(full) == 1:
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(path, "open", failing)
    with pytest.raises(OSError, match="No space"):
        events.write()
    monkeypatch.undo()
    EventFiles(tmp_path, state)
    assert _read(tmp_path) == [(0, "loss", 0.0)]
    assert _read(tmp_path, "train") == [(0, "accuracy", 0.0)]


def test_an_image_keeps_its_bytes_and_size(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(buffer, "png")
    events = EventFiles(tmp_path)
    events.add("", summaries.image("picture", buffer.getvalue(), 4, 3))
    events.write()
    (path,) = tmp_path.glob("events*")
    (value,) = [value for event in EventFileLoader(str(path)).Load() for value in event.summary.value]
    assert value.metadata.plugin_data.plugin_name == "images"
    width, height, png = tensor_util.make_ndarray(value.tensor)
    assert (width, height) == (b"4", b"3")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), np.arange(12).reshape(3, 4))


def _saved(tmp_path):
    """Returns a session of which an event is written and another is not, and its state."""
    events = EventFiles(tmp_path)
    _note(events, [0])
    events.write()
    _note(events, [1])
    return events.state()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "/tmp/.bashrc"},
        {"name": "../events.out.tfevents.1.x"},
        {"name": ".bashrc"},
        {"name": "events.out.tfevents.1.x/../../y"},
        {"name": 3},
        {"sizes": {"": -1, "train": 0}},
        {"sizes": {"../elsewhere": 0}},
        {"sizes": {}},
        {"pending": {"": b"alias ls=rm\n"}},
        {"pending": {"": b"x" * 100}},
        {"pending": {"..": b""}},
        {"pending": []},
        {"checksums": {"": "x"}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_state_that_is_none_of_ours_is_refused_and_nothing_is_written(tmp_path, wrong):
    session = tmp_path / "session"
    session.mkdir()
    state = {**_saved(session), **wrong}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DamagedError) as caught:
        EventFiles(session, state, session / "state.npz")
    assert caught.value.path == session / "state.npz"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_events_with_a_byte_changed_or_missing_are_refused(tmp_path):
    state = _saved(tmp_path)
    whole = state["pending"][""]
    for place in range(len(whole)):
        changed = bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]])
        for pending in (changed, whole[:place]):
            if pending == b"" or (len(pending) != len(whole) and _is_whole(whole, place)):
                continue
            with pytest.raises(DamagedError):
                EventFiles(tmp_path, {**state, "pending": {"": pending}}, tmp_path / "state.npz")


def _is_whole(content, size):
    """Tells whether the first `size` bytes are whole records."""
    place = 0
    while place < size:
        place += 16 + int.from_bytes(content[place : place + 8], "little")
    return place == size


def test_a_file_that_is_not_as_it_was_written_is_named(tmp_path):
    state = _saved(tmp_path)
    path = tmp_path / state["name"]
    content = path.read_bytes()
    for damaged, why in (
        (content[:-1], "it has lost 1 bytes"),
        (b"x" + content[1:], "its checksum is wrong"),
        (None, "it is missing"),
    ):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(DamagedError, match=f"{path} is damaged .{why}"):
            EventFiles(tmp_path, state)
    path.write_bytes(content + b"zeros after a power cut")
    EventFiles(tmp_path, state)
    assert _read(tmp_path) == [(0, "loss", 0.0), (1, "loss", 0.5)]


def test_a_link_out_of_the_session_is_not_written_to(tmp_path):
    session, outside = tmp_path / "session", tmp_path / "outside"
    outside.mkdir()
    session.mkdir()
    events = EventFiles(session)
    _note(events, [0])
    (session / "train").symlink_to(outside)
    with pytest.raises(DamagedError, match="a link out of the workdir"):
        events.write()
    assert list(outside.iterdir()) == []


def test_the_state_of_an_older_gnexp_has_no_checksums(tmp_path):
    state = _saved(tmp_path)
    del state["checksums"]
    EventFiles(tmp_path, state)
    assert _read(tmp_path) == [(0, "loss", 0.0), (1, "loss", 0.5)]
