"""Who may write where, and the home of somebody who is not there."""

import os

import pytest

from gnexp.errors import UserError
from gnexp.terminal import places

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(("mode", "others"), [(0o700, False), (0o755, False), (0o775, True), (0o757, True)])
def test_whoever_may_write_is_named(tmp_path, mode, others):
    tmp_path.chmod(mode)
    assert places.who_may_write(tmp_path) == (f"others may write to {tmp_path}" if others else "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_user_is_named_and_root_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert places.who_may_write(tmp_path) == ""
    os.chown(tmp_path, 4_000_000, -1)
    assert places.who_may_write(tmp_path) == f"{tmp_path} belongs to the user 4000000"


@pytest.mark.parametrize(
    ("mode", "anyone"), [(0o755, False), (0o775, False), (0o1777, True), (0o1770, True), (0o777, True)]
)
def test_a_folder_of_all_users_is_told_from_one_of_a_team(tmp_path, mode, anyone):
    tmp_path.chmod(mode)
    assert places.anyone_may_add(tmp_path) == anyone


def test_the_home_of_nobody_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.expanded("--workdir", "~/x") == tmp_path / "x"
    with pytest.raises(UserError, match=r"--workdir=~nosuchuser/x is not allowed: ~nosuchuser is no user's home"):
        places.expanded("--workdir", "~nosuchuser/x")
