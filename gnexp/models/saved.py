"""The best model of a training, as a workdir keeps it."""

import contextlib
import importlib
import json
import pathlib
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Sequence

import keras

from gnexp.config import open_sections
from gnexp.errors import DamagedError, FunctionError, UserError
from gnexp.functions import sources
from gnexp.functions.load import cause, is_imported
from gnexp.models.cost import measure
from gnexp.workdir import files
from gnexp.workdir.folder import read_config


def load(directory: pathlib.Path, safe_mode: bool = True) -> keras.Model:
    """Returns the network of a training with the weights of its best epoch.

    Keras knows layers by the classes that have been imported. Those of the user's own come from the copy of the source
    that the training ran with, unless this very source has been imported already.

    Args:
      directory: the training's workdir.
      safe_mode: refuse layers that hold Python code, as Keras does.

    Raises:
      UserError: the folder holds no finished training, or its model cannot be loaded.
    """
    config = read_config(directory)
    if config is None or not (directory / files.MODEL).exists():
        raise UserError(f"{directory} holds no finished training")
    path = directory / files.MODEL
    _check_archive(path)
    try:
        with _imported(directory / files.CODE if open_sections.users(config) else None) as modules:
            return keras.saving.load_model(path, custom_objects=_own(modules), safe_mode=safe_mode)
    except (Exception, SystemExit) as error:  # of the user's modules and layers, which may raise anything
        raise UserError(f"{path} cannot be loaded: {_why(error)}") from error


def check(model: keras.Model, modules: Sequence[types.ModuleType], name: str) -> None:
    """Makes a model again from its config, as `load` does, but without values.

    Args:
      model: the model.
      modules: those of the user's code that a workdir keeps.
      name: config.model.name, for the message.

    Raises:
      FunctionError: it cannot be made again.
    """
    try:
        stored = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
        measure(lambda: keras.saving.deserialize_keras_object(stored, _own(modules), safe_mode=False))
    except MemoryError:
        raise
    except Exception as error:  # the code of the user's layers, which may raise anything
        raise FunctionError(
            f"config.model.name={name!r} cannot be saved and loaded again, for which a layer needs a class at the top "
            f"of a module, and a get_config() with all that its constructor takes: {_why(error)}"
        ) from error


def _own(modules: Sequence[types.ModuleType]) -> dict[str, Callable]:
    """Returns the classes and functions that modules define, by name."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def _why(error: BaseException) -> str:
    """Returns what first went wrong in a line, without the config of a layer, which Keras adds to it."""
    why = cause(error)
    for config in (" Full object config:", " Make sure custom classes"):
        why = why.partition(config)[0]
    return why


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


@contextlib.contextmanager
def _imported(kept: pathlib.Path | None) -> Iterator[list[types.ModuleType]]:
    """Yields the modules whose sources are in a folder; what else is imported under their names comes back after."""
    found = sorted(kept.rglob("*.py")) if kept else []
    names = {sources.module(path.relative_to(kept).as_posix()): sources.digest(path) for path in found}
    if all(is_imported(name, digest) for name, digest in names.items()):
        yield [sys.modules[name] for name in names]
        return
    former = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(kept.absolute()))
    importlib.invalidate_caches()
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(kept.absolute()))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(former)
