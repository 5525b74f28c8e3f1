"""Leaves out the pictures of a training's mistakes, which take longer than a small training."""

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def not_drawn() -> Iterator[None]:
    """Puts an empty picture in the place of each."""
    from gnexp.tasks import pictures  # Imports matplotlib, for a second.

    empty = pictures.Picture(b"", 1, 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pictures, "confusion_matrix", lambda *_: empty)
        patched.setattr(pictures, "most_wrong", lambda *_: empty)
        yield
