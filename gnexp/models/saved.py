"""The best model of a training, as a workdir keeps it."""

import contextlib
import importlib
import pathlib
import sys
import zipfile
from collections.abc import Iterator

import keras

from gnexp.config import open_sections
from gnexp.errors import DamagedError, UserError
from gnexp.workdir import files
from gnexp.workdir.folder import read_config


def load(directory: pathlib.Path) -> keras.Model:
    """Returns the network of a training with the weights of its best epoch.

    Keras knows layers by the classes that have been imported. Those of the user's own come from the copy of the source
    that the training ran with, unless their module has been imported already.

    Args:
      directory: the training's workdir.

    Raises:
      UserError: the folder holds no finished training, or its model cannot be loaded.
    """
    config = read_config(directory)
    if config is None or not (directory / files.MODEL).exists():
        raise UserError(f"{directory} holds no finished training")
    kept = directory / files.CODE
    sources = sorted(kept.rglob("*.py")) if open_sections.users(config) else []
    with _importing(kept):
        modules = [importlib.import_module(_module(source.relative_to(kept))) for source in sources]
    classes = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, keras.Layer)
    }
    path = directory / files.MODEL
    _check_archive(path)
    try:
        return keras.saving.load_model(path, custom_objects=classes)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be loaded: {error}") from error


def _check_archive(path: pathlib.Path) -> None:
    """Raises DamagedError unless each file in the archive has its checksum: Keras reads only parts of them."""
    why = "restore it, or train again in another --workdir"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # whatever zipfile raises for a file that is no archive
        raise DamagedError(path, error, why) from error
    if damaged:
        raise DamagedError(path, f"the checksum of {damaged} is wrong", why)


def _module(source: pathlib.Path) -> str:
    parts = source.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@contextlib.contextmanager
def _importing(kept: pathlib.Path) -> Iterator[None]:
    """Lets modules be imported from a folder, before all others."""
    sys.path.insert(0, str(kept.absolute()))
    try:
        yield
    finally:
        sys.path.remove(str(kept.absolute()))
