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
from gnexp.workdir import files, provenance, result
from gnexp.workdir.folder import read_config
from gnexp.workdir.result import EPOCH

# Up to the last slash of a path from the root, or from somebody's home. A folder's name may hold spaces and
# apostrophes, so that a slash in the text that follows counts as the path's: rather too much goes than too little.
_LETTER = r"(?:[^\s/=,:;'\"]|(?<=\w)'(?=\w))"
_FOLDERS = re.compile(rf"(?<![\w.~/])~?/(?:{_LETTER}(?:(?:{_LETTER}| )*{_LETTER})?/)*(?=[^\s/])")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
# These flags hold a path and nothing else. One within the folder that the command ran in is kept, if it is plain.
_PATHS = ("--workdir", "--config", "--config.data.directory")
_PLAIN = re.compile(r"(?!\.\.)[\w.-]+(/(?!\.\.)[\w.-]+)*")


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
        sources = sorted(directory.glob(f"{files.TRIALS}/{files.A_TRIAL}/*/{files.PROVENANCE}"))
        files.write_json(out / files.PROVENANCE, _provenance(sources or [directory / files.PROVENANCE]))
        _copy_remarks(directory, out)
        (out / files.RESULT).unlink(missing_ok=True)
        if result.ended_by(directory):  # The trials do not say it.
            files.write_json(out / files.RESULT, _without_folders(files.read_json(directory / files.RESULT)))
        kept_trials.write(out, found, config["seed"])
        return
    if (directory / files.CONFIG).exists():
        raise UserError(f"--workdir={directory} is a single training: --out keeps a sweep, or a folder of trainings")
    if sweeps := [path.parent.name for path in sorted(directory.glob(f"*/{files.CONFIG}")) if is_sweep(path.parent)]:
        raise UserError(
            f"--workdir={directory} holds sweeps, {', '.join(sweeps)}: --out keeps one sweep, or a folder of trainings "
            "alone"
        )
    compared = trainings.read(directory)
    _make(out)
    for training in compared.trainings:
        source, kept = directory / training.name, out / training.name
        _write_config(source, kept)
        files.write_json(kept / files.PROVENANCE, _provenance([source / files.PROVENANCE]))
        _copy_remarks(source, kept)
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


def _copy_remarks(directory: pathlib.Path, out: pathlib.Path) -> None:
    if lines := files.read_lines(directory / files.REMARKS):
        files.write_json(out / files.REMARKS, lines)


def _write_config(directory: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
    config = _without_folders(read_config(directory))
    config["data"]["directory"] = ""
    files.write_json(out / files.CONFIG, config)
    return config


def _write_history(path: pathlib.Path, history: History) -> None:
    columns = list(history[0]) if history else EPOCH
    with files.atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


def _provenance(paths: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Returns the processes of some trainings; of those that differ only in their start and host, the first."""
    kept: dict[str, dict[str, Any]] = {}
    for process in (process for path in paths for process in provenance.read(path)):
        same = {key: value for key, value in process.items() if key not in ("started", "host", "command")}
        if command := _command(process.get("command", ())):
            same = {"command": command, **same}
        kept.setdefault(repr(same), {"started": process["started"], **same})
    return list(kept.values())


def _command(arguments: Sequence[str]) -> list[str]:
    """Returns the command that started gnexp.train; empty if another program called gnexp."""
    for place, argument in enumerate(arguments):
        if argument == "gnexp.train" or argument.endswith("gnexp/train.py"):
            given = arguments[place + 1 :]
            return ["python", "-m", "gnexp.train", *map(_without_places, given, ["", *given])]
    return []


def _without_places(argument: str, before: str) -> str:
    """Returns an argument of the command without folders and hosts; `before` is the one before it."""
    flag, _, value = argument.partition("=") if argument.startswith("-") else (before, "", argument)
    shown = argument.removesuffix(value) if value else argument
    flag = f"--{flag.lstrip('-')}"
    if flag == "--ray_address" and value:
        _, colon, port = value.rpartition(":")
        return f"{shown}HOST:{port}" if colon else argument
    if flag in _PATHS and value:
        path, colon, rest = value.partition(":") if flag == "--config" else (value, "", "")
        return f"{shown}{path if _PLAIN.fullmatch(path) else pathlib.PurePath(path).name}{colon}{rest}"
    return _without_folders(argument)


def _without_folders(value: Any) -> Any:
    """Returns a value in which every path is cut to its last part, and no number is an address."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    for folder in (pathlib.Path.cwd(), pathlib.Path.home()):  # They may hold what `_FOLDERS` takes for a path's end.
        value = value.replace(f"{folder}/", "~/")
    return _ADDRESS.sub("HOST", _FOLDERS.sub("", value))
