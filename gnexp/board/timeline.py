"""When each execution of a sweep ran, and on which machine."""

import datetime
import pathlib
from typing import Any

from gnexp.analysis.outcomes import RUNNING
from gnexp.board.folders import signature
from gnexp.board.watched import Watched
from gnexp.workdir import files


def timeline(watched: Watched) -> dict[str, Any]:
    """Returns a bar for each execution that has begun: trial, seed, host, start and end in seconds since 1970.

    An execution that was interrupted and resumed has one bar, from its first start to its end.
    """
    bars = []
    first = watched.swept().config.seed
    for trial_id, kept in watched.trials.items():
        if kept.ended is None:  # A kept sweep does not say when.
            continue
        folder = files.trial_folder(watched.directory, trial_id)
        for seed in range(first, first + watched.swept().config.sweep.executions):
            bar = _bar(watched.bars, files.execution_folder(folder, seed))
            if bar:
                running = kept.outcome.status == RUNNING and bar["end"] is None
                end = bar["end"] or (None if running else kept.ended)
                bars.append({"trial": trial_id, "seed": seed, "status": kept.outcome.status, **bar, "end": end})
    return {"bars": bars, "lanes": _lanes(bars), "version": watched.version}


def _bar(known: dict[pathlib.Path, tuple[Any, dict]], folder: pathlib.Path) -> dict[str, Any] | None:
    state = signature(folder / files.PROVENANCE), signature(folder / files.RESULT)
    if state[0] is None:
        return None
    if folder not in known or known[folder][0] != state:
        processes = files.read_json(folder / files.PROVENANCE) or []
        if not processes:
            return None
        start = datetime.datetime.fromisoformat(processes[0]["started"]).timestamp()
        end = max(start, state[1][0] / 1e9) if state[1] else None
        known[folder] = state, {"start": start, "end": end, "host": processes[-1].get("host", "")}
    return dict(known[folder][1])


def _lanes(bars: list[dict[str, Any]]) -> list[str]:
    """Puts each bar on a lane, so that no two that ran at once share one, and returns the names of the lanes.

    The files do not say which worker ran a trial; a machine has as many lanes as trainings ran there at once.
    """
    free: dict[str, list[float]] = {}
    for bar in sorted(bars, key=lambda bar: bar["start"]):
        ends = free.setdefault(bar["host"], [])
        # A start is recorded in whole seconds, so that it may be before the end of the one before.
        place = next((lane for lane, end in enumerate(ends) if end <= bar["start"] + 1.5), len(ends))
        ends[place : place + 1] = [bar["end"] or float("inf")]
        bar["lane"] = (bar["host"], place)
    lanes = [(host, place) for host, ends in free.items() for place in range(len(ends))]
    order = {lane: number for number, lane in enumerate(lanes)}
    for bar in bars:
        bar["lane"] = order[bar["lane"]]
    return [f"{host or 'this machine'}, {place + 1}" for host, place in lanes]
