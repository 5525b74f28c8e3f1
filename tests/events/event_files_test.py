"""Event files: TensorBoard reads back every added event once, wherever the writer died."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

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
