"""One trial of a sweep in full, and the curves of some."""

import pathlib
from typing import Any

from gnexp.analysis import outcomes
from gnexp.analysis.sweep import read_trials
from gnexp.board.folders import signature
from gnexp.board.watched import Watched
from gnexp.config import config_file
from gnexp.config.paths import flatten
from gnexp.config.stored import to_json
from gnexp.errors import UserError
from gnexp.workdir import checkpoint, files
from gnexp.workdir.result import Result

_MOST_CURVES = 60
_LONGEST_TEXT = 100_000


def curves(watched: Watched, trial_ids: list[str]) -> dict[str, Any]:
    """Returns the epochs of each execution of some trials: those that it has, and at most 60 trials; and who is absent.

    In a race a trial's setting also has the executions of the trials before it.

    Raises:
      LookupError: there is none of the trials.
    """
    found, asked = [], [each for each in trial_ids if each][:_MOST_CURVES]
    absent = [trial_id for trial_id in asked if trial_id not in watched.trials]
    if asked and absent == asked:
        _kept(watched, asked[0])
    for trial_id in (each for each in asked if each not in absent):
        for each in watched.setting(trial_id):
            histories = _histories(watched, each.outcome.trial_id)
            known = {seed: history for seed, history in histories.items() if history}
            found += [{"trial": trial_id, "seed": seed, "epochs": columns(known[seed])} for seed in known]
    return {"curves": found, "absent": absent}


def _kept(watched: Watched, trial_id: str) -> Any:
    if trial_id not in watched.trials:
        raise LookupError(f"there is no trial {trial_id!r}")
    return watched.trials[trial_id]


def _histories(watched: Watched, trial_id: str) -> dict[int, list[dict[str, Any]]]:
    seeds = [watched.swept().config.seed + number for number in _numbers(watched, trial_id)]
    if watched.swept().kept:
        (outcome,) = [each for each in read_trials(watched.directory) if each.trial_id == trial_id]
        return {seed: done.history for seed, done in zip(seeds, outcome.results, strict=False)}
    folder = files.trial_folder(watched.directory, trial_id)
    return {seed: history(files.execution_folder(folder, seed)) for seed in seeds}


def _numbers(watched: Watched, trial_id: str) -> range:
    values, config = watched.trials[trial_id].outcome.values, watched.swept().config
    return outcomes.seeds(values, config.sweep.executions)


def history(directory: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the epochs of the training in a workdir so far; [] if none are known."""
    ended = files.read_json(directory / files.RESULT) or {}
    return ended.get("history") or checkpoint.history(directory / files.CHECKPOINT)


def columns(epochs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Returns the figures of a history by name; a kept sweep has only the objective."""
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    return {name: [epoch.get(name) for epoch in epochs] for name in names}


def trial(watched: Watched, trial_id: str) -> dict[str, Any]:
    """Returns a trial in full: each seed of its setting, its config beside the sweep's own, and why it failed.

    Raises:
      LookupError: there is no such trial.
    """
    kept, swept = _kept(watched, trial_id), watched.swept()
    outcome = kept.outcome
    config = swept.space.config(swept.config, outcome.values)
    config.seed = outcomes.own_seed(outcome.values, config.seed)
    own, its = flatten(to_json(swept.config)), flatten(to_json(config))
    shown = [path for path, value in its.items() if path in outcome.values or own.get(path) != value]
    return {
        "id": trial_id,
        "status": outcome.status,
        "message": outcome.message,
        "values": outcome.values,
        "beside": [[path, own.get(path), its[path]] for path in shown],
        "config": its,
        "seeds": [seed for each in watched.setting(trial_id) for seed in _seeds(watched, each.outcome)],
        "file": config_file.text(f"Trial {trial_id} of a sweep.", config),
        "version": watched.version,
    }


def _seeds(watched: Watched, outcome: outcomes.Outcome) -> list[dict[str, Any]]:
    """Returns what there is of each execution of a trial."""
    swept, found = watched.swept(), []
    folder = files.trial_folder(watched.directory, outcome.trial_id)
    for place, number in enumerate(_numbers(watched, outcome.trial_id)):
        seed = swept.config.seed + number
        about = {} if swept.kept else execution(files.execution_folder(folder, seed), watched.directory)
        done = outcome.results[place] if place < len(outcome.results) else None
        figures = {} if done is None else _figures(done, swept.headline.name)
        if done or about:
            found.append({"seed": seed, "folder": f"{files.TRIALS}/{outcome.trial_id}/seed-{seed}", **about, **figures})
    return found


def _figures(done: Result, headline: str) -> dict[str, Any]:
    found = {key: value for key, value in vars(done).items() if key not in ("history", "test")}
    return {**found, "test": done.test[headline], "test_loss": done.test["loss"]}


def execution(directory: pathlib.Path, root: pathlib.Path) -> dict[str, Any]:
    """Returns what a training's workdir says of how it went and where; {} if there is none yet.

    Args:
      directory: the workdir.
      root: the folder outside of which nothing is read, should a file be a link.
    """
    if signature(directory / files.CONFIG) is None:
        return {}
    try:
        ended, processes = (files.read_json(directory / name) for name in (files.RESULT, files.PROVENANCE))
    except UserError as error:
        return {"status": "damaged", "message": str(error)}
    ended = ended or {}
    found = {
        "status": ended.get("status", "running"),
        "message": ended.get("message", ""),
        "traceback": _text(directory / files.TRACEBACK, root),
        "processes": processes or [],
    }
    if "history" not in ended:
        found["epochs"] = len(history(directory))
    return found


def _text(path: pathlib.Path, root: pathlib.Path) -> str:
    if not path.resolve().is_relative_to(root.resolve()):
        return ""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST_TEXT)
    except OSError:
        return ""
