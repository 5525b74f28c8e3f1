"""A checkpoint is loaded as it was saved, and is either complete or absent."""

import numpy as np
import pytest

from gnexp.workdir import checkpoint
from gnexp.workdir.checkpoint import Checkpoint
from gnexp.workdir.result import SUCCESS, Result

pytestmark = pytest.mark.any_backend

_RESULT = Result(
    SUCCESS, "digits", "test", "val_loss", 0.1, 1, 0.9, 0.2, 3.5, [{"epoch": 1, "loss": 0.30000000000000004}]
)


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
