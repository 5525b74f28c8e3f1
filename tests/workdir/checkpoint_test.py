"""A checkpoint is loaded as it was saved, and is either complete or absent."""

import json

import numpy as np
import pytest

from gnexp.errors import DamagedError, UserError
from gnexp.workdir import checkpoint
from gnexp.workdir.checkpoint import Checkpoint
from gnexp.workdir.result import SUCCESS, Result

pytestmark = pytest.mark.any_backend

_EPOCH = {
    "epoch": 1,
    "loss": 0.30000000000000004,
    "accuracy": 0.5,
    "val_loss": 0.1,
    "val_accuracy": 0.9,
    "learning_rate": 1e-3,
    "seconds": 3.5,
}
_RESULT = Result(SUCCESS, "digits", "test", "val_loss", 0.1, 1, {"accuracy": 0.9, "loss": 0.2}, 3.5, [_EPOCH])


def _checkpoint(result=None) -> Checkpoint:
    return Checkpoint(
        arrays={
            "model.0": np.float32([[1e-45, np.pi]]),
            "model.1": np.uint32([7, 2**32 - 1]),
            "optimizer.0": np.int64(5),
        },
        progress={"step": 3, "history": [{"loss": 0.1 + 0.2}], "best_value": None},
        events={"name": "events", "sizes": {"": 10, "train": 0}, "pending": {"": b"\x00\xff", "train": b""}},
        result=result,
    )


@pytest.mark.parametrize("result", [None, _RESULT])
def test_it_comes_back_to_the_last_bit(tmp_path, result):
    saved = _checkpoint(result)
    checkpoint.save(tmp_path / "state.npz", saved)
    loaded = checkpoint.load(tmp_path / "state.npz")
    assert (loaded.progress, loaded.events, loaded.result) == (saved.progress, saved.events, saved.result)
    assert loaded.arrays.keys() == saved.arrays.keys()
    for name, array in saved.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded.arrays[name], array)


def test_there_is_none_before_the_first(tmp_path):
    assert checkpoint.load(tmp_path / "state.npz") is None


def test_a_save_that_fails_leaves_the_former_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "state.npz", _checkpoint())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path / "state.npz", _checkpoint(_RESULT))
    assert checkpoint.load(tmp_path / "state.npz").result is None
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_no_byte_of_it_can_change_unnoticed(tmp_path):
    """Flips a bit of every byte, and cuts the file at each: what is loaded is what was saved, or nothing."""
    path = tmp_path / "state.npz"
    checkpoint.save(path, _checkpoint(_RESULT))
    whole, saved = path.read_bytes(), checkpoint.load(path)
    refused = 0
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        for damaged in (flipped, whole[:place]):
            path.write_bytes(damaged)
            try:
                loaded = checkpoint.load(path)
            except DamagedError as error:
                assert str(path) in str(error)
                refused += 1
                continue
            assert (loaded.progress, loaded.events, loaded.result) == (saved.progress, saved.events, saved.result)
            assert loaded.arrays.keys() == saved.arrays.keys()
            for name, array in saved.arrays.items():
                np.testing.assert_array_equal(loaded.arrays[name], array)
    assert refused > 1.5 * len(whole)


def _rewritten(path, change):
    """Saves a checkpoint whose archive is whole, and whose content is not what `save` writes."""
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    change(arrays, meta)
    if "meta" in arrays:
        arrays["meta"] = np.array(json.dumps(meta))
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, meta: arrays.pop("model.1"),
        lambda arrays, meta: arrays.update({"model.2": np.zeros(3)}),
        lambda arrays, meta: arrays.pop("meta"),
        lambda arrays, meta: meta.pop("events"),
        lambda arrays, meta: meta.update(progress=[]),
        lambda arrays, meta: meta.update(result={}),
        lambda arrays, meta: meta["result"].update(best_value=float("nan")),
        lambda arrays, meta: meta["result"].update(best_epoch=7),
        lambda arrays, meta: meta["result"].update(history=[]),
        lambda arrays, meta: meta.update(more=1),
        lambda arrays, meta: meta.update(arrays=3),
    ],
)
def test_a_whole_archive_with_a_wrong_content_is_damaged(tmp_path, change):
    checkpoint.save(tmp_path / "state.npz", _checkpoint(_RESULT))
    _rewritten(tmp_path / "state.npz", change)
    with pytest.raises(DamagedError, match=r"state\.npz is damaged"):
        checkpoint.load(tmp_path / "state.npz")


def test_that_of_a_newer_gnexp_is_not_set_aside(tmp_path):
    checkpoint.save(tmp_path / "state.npz", _checkpoint())
    _rewritten(tmp_path / "state.npz", lambda arrays, meta: meta.update(format=2, progress="another"))
    with pytest.raises(UserError, match=r"state\.npz has the format 2, of a newer gnexp") as caught:
        checkpoint.load(tmp_path / "state.npz")
    assert not isinstance(caught.value, DamagedError)


def test_that_of_an_older_gnexp_is_read(tmp_path):
    checkpoint.save(tmp_path / "state.npz", _checkpoint(_RESULT))

    def older(arrays, meta):
        del meta["format"], meta["arrays"]

    _rewritten(tmp_path / "state.npz", older)
    assert checkpoint.load(tmp_path / "state.npz").result == _RESULT
