"""Paths that a user names, and who else may write there."""

import os
import pathlib
import pwd
import stat

from gnexp.errors import UserError

_GROUP_OR_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def expanded(flag: str, path: str) -> pathlib.Path:
    """Returns the path that a flag or a key of the config has, with the home that its `~` stands for.

    Raises:
      UserError: there is no such user.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{flag}={path} is not allowed: {path.partition('/')[0]} is no user's home") from error


def check_data(directory: str) -> None:
    """Checks `config.data.directory`, also of a dataset that needs none: its user means another dataset.

    Raises:
      UserError: it is given, and is no folder here.
    """
    if directory and not expanded("config.data.directory", directory).is_dir():
        raise UserError(f"config.data.directory={directory!r} is not allowed: there is no such folder")


def who_may_write(path: pathlib.Path) -> str:
    """Returns in words who else than this user and root may change a file or a folder; "" if nobody may.

    Raises:
      OSError: it cannot be looked at.
    """
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to {_name(status.st_uid)}"
    return f"others may write to {path}" if status.st_mode & _GROUP_OR_OTHERS else ""


def anyone_may_add(folder: pathlib.Path) -> bool:
    """Tells whether others may add files to a folder, but not replace what its owner has there: /tmp, for example.

    In a folder that is not so, whoever may add a file may also replace each one that is there.
    """
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH or (mode & stat.S_ISVTX and mode & stat.S_IWGRP))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"the user {user}"
