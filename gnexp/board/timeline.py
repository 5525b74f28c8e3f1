"""When each execution of a sweep ran, and on which machine."""

import datetime
import heapq
from typing import Any

from gnexp.analysis import outcomes
from gnexp.board.folders import signature
from gnexp.board.watched import Kept, Watched
from gnexp.errors import UserError
from gnexp.workdir import files, provenance

_SHOWN = ("trial", "seed", "status", "start", "end")


def timeline(watched: Watched) -> dict[str, Any]:
    """Returns a bar for each execution that has begun: trial, seed, host, start and end in seconds since 1970.

    An execution that was interrupted and resumed has one bar, from its first start to its end. Those of which the start
    cannot be read have none, and are counted as `unread`.
    """
    bars, unread = [], 0
    for trial_id, kept in watched.trials.items():
        if kept.ended is None:  # A kept sweep does not say when.
            continue
        known = watched.bars.get(trial_id)
        if known is None or known[0] is not kept or kept.outcome.status == outcomes.RUNNING:
            known = watched.bars[trial_id] = kept, *_bars(watched, trial_id, kept)
        bars += known[1]
        unread += known[2]
    shown, lanes = _lanes(bars)
    return {"bars": shown, "lanes": lanes, "unread": unread, "version": watched.version}


def _bars(watched: Watched, trial_id: str, kept: Kept) -> tuple[list[dict[str, Any]], int]:
    folder, config = files.trial_folder(watched.directory, trial_id), watched.swept().config
    bars, unread = [], 0
    # A trial's status is that of its last seed; the seeds before it have completed.
    completed, first = len(kept.outcome.results), outcomes.own_seed(kept.outcome.values, config.seed)
    for seed in range(config.seed, config.seed + config.sweep.executions):
        execution = files.execution_folder(folder, seed)
        try:
            if not (processes := provenance.read(execution / files.PROVENANCE)):
                continue
            start = datetime.datetime.fromisoformat(processes[0]["started"]).timestamp()
            host = processes[-1].get("host", "")
        except (UserError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
            unread += 1
        else:
            ended = signature(execution / files.RESULT)
            end = None if kept.outcome.status == outcomes.RUNNING else kept.ended
            end = max(start, ended[0] / 1e9) if ended else end
            status = outcomes.COMPLETED if seed < first + completed else kept.outcome.status
            bar = {"trial": trial_id, "seed": seed, "status": status, "start": start, "end": end}
            bars.append({**bar, "host": host})
    return bars, unread


def _lanes(bars: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Puts each bar on a lane, so that no two that ran at once share one, and returns the bars and the lanes' names.

    The files do not say which worker ran a trial; a machine has as many lanes as trainings ran there at once.
    """
    hosts: dict[str, int] = {}  # how many lanes each has
    free: dict[str, list[int]] = {}
    busy: dict[str, list[tuple[float, int]]] = {}
    places = []
    for bar in sorted(bars, key=lambda bar: bar["start"]):
        host = bar["host"]
        left, taken = free.setdefault(host, []), busy.setdefault(host, [])
        # A start is recorded in whole seconds, so that it may be before the end of the one before.
        while taken and taken[0][0] <= bar["start"] + 1.5:
            heapq.heappush(left, heapq.heappop(taken)[1])
        place = heapq.heappop(left) if left else len(taken)
        heapq.heappush(taken, (float("inf") if bar["end"] is None else bar["end"], place))
        hosts[host] = max(hosts.get(host, 0), place + 1)
        places.append((bar, host, place))
    lanes = [(host, place) for host, count in hosts.items() for place in range(count)]
    order = {lane: number for number, lane in enumerate(lanes)}
    shown = [{key: bar[key] for key in _SHOWN} | {"lane": order[host, place]} for bar, host, place in places]
    return shown, [f"{host or 'this machine'}, {place + 1}" for host, place in lanes]
