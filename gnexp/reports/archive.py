"""Keeps trainings and sweeps for a repository: their figures and provenance, but no weights and no event files.

A report can be made again from a kept folder. It names no machine, and no folder of one.
"""

import csv
import dataclasses
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import Any

from gnexp.analysis import kept_trials, trainings
from gnexp.analysis.sweep import is_sweep, read_trials
from gnexp.analysis.trainings import History
from gnexp.errors import UserError
from gnexp.workdir import files

# Up to the last slash of a path from the root, or from somebody's home.
_FOLDERS = re.compile(r"(?<![\w.~/])~?/(?:[^\s/=,:'\"]+/)*(?=[^\s/])")


def keep(directory: pathlib.Path, out: pathlib.Path) -> None:
    """Keeps the sweep in a workdir, or the trainings in a folder of workdirs, in the folder `out`.

    Other trainings that `out` holds stay.

    Raises:
      UserError: there is nothing to keep, or `out` cannot take it; nothing is written.
    """
    if out.resolve() == directory.resolve():
        raise UserError(f"--out={out} is not allowed: it must be another folder than --workdir")
    sweep = is_sweep(directory)
    if not sweep and is_sweep(out):
        raise UserError(f"--out={out} is not allowed: a sweep is kept there, and --workdir={directory} holds none")
    if sweep and any(out.glob(f"*/{files.CONFIG}")):
        raise UserError(f"--out={out} is not allowed: trainings are kept there, and --workdir={directory} is a sweep")
    if sweep:
        found = [
            dataclasses.replace(trial, message=_without_folders(trial.message)) for trial in read_trials(directory)
        ]
        _make(out)
        config = _write_config(directory, out)
        sources = sorted(directory.glob(f"{files.TRIALS}/*/*/{files.PROVENANCE}"))
        files.write_json(out / files.PROVENANCE, _provenance(sources or [directory / files.PROVENANCE]))
        kept_trials.write(out, found, config["seed"])
        return
    compared = trainings.read(directory)
    _make(out)
    for training in compared.trainings:
        source, kept = directory / training.name, out / training.name
        _write_config(source, kept)
        files.write_json(kept / files.PROVENANCE, _provenance([source / files.PROVENANCE]))
        _write_history(kept / trainings.HISTORY, training.history)
        (kept / files.RESULT).unlink(missing_ok=True)
        if training.ended:
            files.write_json(kept / files.RESULT, _without_folders(training.ended))
    if (directory / trainings.REFERENCE).exists():
        with files.atomic(out / trainings.REFERENCE) as temporary:
            shutil.copyfile(directory / trainings.REFERENCE, temporary)


def _make(out: pathlib.Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out} is not allowed: {error.strerror}") from error


def _write_config(directory: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
    config = files.read_json(directory / files.CONFIG)
    config["data"]["directory"] = ""
    files.write_json(out / files.CONFIG, config)
    return config


def _write_history(path: pathlib.Path, history: History) -> None:
    columns = ("epoch", *trainings.CURVES, "learning_rate", "seconds")
    with files.atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


def _provenance(paths: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Returns the processes of some trainings; of those that differ only in their start and host, the first."""
    kept: dict[str, dict[str, Any]] = {}
    for process in (process for path in paths for process in files.read_json(path) or []):
        same = {key: value for key, value in process.items() if key not in ("started", "host", "command")}
        if command := _command(process.get("command", ())):
            same = {"command": command, **same}
        kept.setdefault(repr(same), {"started": process["started"], **same})
    return list(kept.values())


def _command(arguments: Sequence[str]) -> list[str]:
    """Returns the command that started gnexp.train; empty if another program called gnexp."""
    for place, argument in enumerate(arguments):
        if argument == "gnexp.train" or argument.endswith("gnexp/train.py"):
            return ["python", "-m", "gnexp.train", *_without_folders(list(arguments[place + 1 :]))]
    return []


def _without_folders(value: Any) -> Any:
    """Returns a value in which every path is cut to its last part."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    for folder in (pathlib.Path.cwd(), pathlib.Path.home()):  # `_FOLDERS` matches no spaces.
        value = value.replace(f"{folder}/", "~/")
    return _FOLDERS.sub("", value)
