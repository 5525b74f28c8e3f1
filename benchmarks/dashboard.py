"""TensorBoard's tab Sweeps on a large sweep, beside HParams on the same logdir and optuna-dashboard on the same trials.

Run:      python -m benchmarks.dashboard
Time:     19 minutes on 2 CPU cores with much other work, most of it to write the files and for HParams to read them.

optuna-dashboard is left out where it is not installed (pip install optuna optuna-dashboard). Nothing is trained:
benchmarks/made_up_sweep.py writes what a sweep leaves, without checkpoints. The files are in the page cache. What a
browser takes to draw is not measured.
"""

import json
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from benchmarks import measure, servers
from configs import fmnist_sweep
from gnexp.config.stored import record
from gnexp.space.parse import parse_space
from gnexp.workdir import files

flags.DEFINE_integer("trials", 3000, "How many trials the sweep has.", lower_bound=10, upper_bound=9990)
flags.DEFINE_integer("seeds", 3, "How many seeds each of them has.", lower_bound=1)
flags.DEFINE_integer("sweeps", 100, "How many sweeps of 30 trials the list has.", lower_bound=1)
flags.DEFINE_string("out", "build/benchmarks/dashboard.json", "Where the figures go.")

_SMALL = 30  # trials
_SERVERS = 3  # one after the other
_TURNS = 3  # of refreshing, on each of them
_MOST = 300  # seconds for HParams to read the event files
_COLUMNS = {
    "first": "first view\n(s)",
    "bytes": "(bytes)",
    "again": "nothing\nnew (s)",
    "more": "one trial\nmore (s)",
    "more_bytes": "(bytes)",
    "answer": "the answer\n(s)",
    "memory": "memory\n(MB)",
}


class _Tab:
    """The tab Sweeps, as its page asks: parts of a large sweep, until it has all of it."""

    def __init__(self, address: str):
        self._address = f"{address}data/plugin/sweeps/"

    def _ask(self, route: str, argument: str = "") -> bytes:
        return servers.get(f"{self._address}{route}?{urllib.parse.urlencode({'name': 'large', 'arg': argument})}")[1]

    def first(self) -> int:
        """Asks for everything; returns the bytes."""
        self._version, size, complete = "", 0, False
        while not complete:
            size += self.again()
            complete = self._complete
        return size

    def again(self) -> int:
        """Asks for what is new; returns the bytes."""
        answer = self._ask("sweep", self._version)
        found = json.loads(answer)
        self._version, self._complete = found["version"], found["complete"]
        return len(answer)

    def answer(self) -> None:
        """Asks for the answer to what the sweep asks."""
        self._ask("answer")


class _HParams:
    """TensorBoard's HParams dashboard with all trials, once it has read them."""

    def __init__(self, address: str, trials: int):
        self._address, self._trials = address, trials

    def first(self) -> int:
        """Asks for everything; returns the bytes."""
        return len(servers.groups(self._address, 10_000)[1])

    again = first


class _Optuna:
    """optuna-dashboard on the same trials."""

    def __init__(self, address: str, study: int, trials: int):
        self._address, self._trials = f"{address}api/studies/{study}?after=", trials

    def first(self) -> int:
        """Asks for everything; returns the bytes."""
        return len(servers.get(f"{self._address}0")[1])

    def again(self) -> int:
        """Asks for what is new; returns the bytes."""
        return len(servers.get(f"{self._address}{self._trials}")[1])


def _timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = ask()
    return time.perf_counter() - began, found


def _measured(asked: Any, process: int, add: Callable[[], None]) -> dict[str, Any]:
    """Returns what one server was measured to take; `add` adds a trial."""
    before = servers.memory(process)
    first, size = _timed(asked.first)
    again, more = [], []
    for _ in range(_TURNS):
        time.sleep(0.5)  # The tab takes for new what it read less than 0.2 seconds ago.
        again.append(_timed(asked.again)[0])
        add()
        time.sleep(0.5)
        more.append(_timed(asked.again))
    found = {"first": first, "bytes": size, "again": statistics.median(again), "more": statistics.median(more)[0]}
    found["more_bytes"] = more[-1][1]
    if hasattr(asked, "answer"):
        found["answer"] = _timed(asked.answer)[0]
    return found | {"memory": servers.memory(process) - before}


def _of_tensorboard(logdir: pathlib.Path, trials: int, add: Callable[[], None]) -> dict[str, list[dict[str, Any]]]:
    """Returns what the tab and HParams take, for each server of its own."""
    found: dict[str, list[dict[str, Any]]] = {"tab Sweeps": [], "HParams": []}
    for number in range(_SERVERS):
        with servers.tensorboard(logdir) as (address, process):
            time.sleep(1)  # as long as it takes to click
            found["tab Sweeps"].append(_measured(_Tab(address), process, add))
        if number:  # It takes minutes.
            continue
        began = time.perf_counter()
        with servers.tensorboard(logdir / "large") as (address, process):
            try:
                servers.wait_until_loaded(address, trials + _TURNS, servers.METRICS["gnexp"], _MOST)
            except RuntimeError as error:
                print(f"HParams is left out: {error}")
                continue
            loaded = time.perf_counter() - began
            found["HParams"].append({**_measured(_HParams(address, trials), process, add), "loaded": loaded})
    return {name: each for name, each in found.items() if each}


def _of_optuna(folder: pathlib.Path, config: ConfigDict, trials: Sequence[Any]) -> list[dict[str, Any]]:
    optuna = measure.peer("optuna")
    measure.peer("optuna_dashboard")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = f"sqlite:///{folder}/optuna.db"
    study = optuna.create_study(storage=storage, direction="maximize")
    domains = {}
    for path, entries in ((path, parse_space(config).of(path)) for path in parse_space(config).searched):
        if entries[0].values:
            domains[path] = optuna.distributions.CategoricalDistribution(entries[0].values)
        else:
            low, high = min(entry.low for entry in entries), max(entry.high for entry in entries)
            domains[path] = optuna.distributions.FloatDistribution(low, high, log=True)

    def made(trial: Any) -> Any:
        best = max(figures["val_accuracy"] for figures in trial.curve)
        own = {path: domain for path, domain in domains.items() if path in trial.values}
        values = {path: trial.values[path] for path in own}
        return optuna.trial.create_trial(params=values, distributions=own, value=best)

    study.add_trials([made(trial) for trial in trials])
    found = []
    for _ in range(_SERVERS):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        code = "from optuna_dashboard._cli import main; main()"
        with servers.started([sys.executable, "-u", "-c", code, storage, "--port", port]) as (address, process):
            asked = _Optuna(address, study._study_id, len(study.get_trials(deepcopy=False)))
            found.append(_measured(asked, process, lambda: study.add_trial(made(trials[0]))))
    return found


def _listed(folder: pathlib.Path) -> float:
    """Returns how many seconds it takes until all sweeps of a folder are listed."""
    with servers.tensorboard(folder) as (address, _):
        began = time.perf_counter()
        while not json.loads(servers.get(f"{address}data/plugin/sweeps/list")[1])["complete"]:
            pass
        return time.perf_counter() - began


def _lists(folder: pathlib.Path, write: Callable[[pathlib.Path, int], None], sweeps: int) -> dict[str, float]:
    """Returns how long many sweeps take to be listed, under way and finished."""
    for number in range(sweeps):
        write(folder / f"sweep-{number:03}", number)
    found = {"under way": _listed(folder)}
    best = {"trial": "0001", "mean": 0.9, "interval95": 0.01, "scores": [], "values": {}}
    ended = {"status": "success", "trials": {"completed": _SMALL, "failed": 0}, "failures": {}, "best": [best]}
    for number in range(sweeps):
        files.write_json(folder / f"sweep-{number:03}" / files.RESULT, ended)
    return found | {"finished": _listed(folder)}


def _show(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Prints the medians over the servers, and returns them."""
    medians = {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    cells = [
        [name, *(f"{row[key]:,.3f}" if isinstance(row.get(key), float) else f"{row.get(key, '')}" for key in _COLUMNS)]
        for name, row in medians.items()
    ]
    measure.show(cells, ["", *_COLUMNS.values()])
    return medians


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    from benchmarks import made_up_sweep  # Takes seconds: it imports TensorFlow.

    count, seeds, sweeps = flags.FLAGS.trials, flags.FLAGS.seeds, flags.FLAGS.sweeps
    asked = fmnist_sweep.get_config()
    asked.epochs, asked.sweep.executions = 10, seeds
    asked.sweep.max_trials = max(count + (_SERVERS + 1) * _TURNS, sweeps * _SMALL)
    config = record(asked, asked.data.name)
    drawn = made_up_sweep.draw(config)
    more = iter(drawn[count:])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        large = folder / "one" / "large"
        made_up_sweep.write_gnexp(large, config, drawn[:count], seeds)
        found = _of_tensorboard(
            large.parent, count, lambda: made_up_sweep.write_gnexp(large, config, [next(more)], seeds)
        )
        try:
            found["optuna-dashboard"] = _of_optuna(folder, config, drawn[:count])
        except ModuleNotFoundError as error:
            print(f"optuna-dashboard is left out: {error} (pip install optuna optuna-dashboard)")

        def small(where: pathlib.Path, number: int) -> None:
            own = [trial._replace(number=place) for place, trial in enumerate(drawn[number * _SMALL :][:_SMALL])]
            made_up_sweep.write_gnexp(where, config, own, seeds, events=False)

        listed = _lists(folder / "many", small, sweeps)
    medians = _show(found)
    for loaded in (row["loaded"] for row in found.get("HParams", [])):
        print(f"HParams has read the event files after {loaded:.1f} s")
    for what, seconds in listed.items():
        print(f"{sweeps} sweeps of {_SMALL} trials, {what}, are listed in {seconds:.1f} s")
    about = {"trials": count, "seeds": seeds, "sweeps": sweeps, "listed": listed}
    measure.write(flags.FLAGS.out, {**about, "medians": medians, "measured": found})


if __name__ == "__main__":
    app.run(main)
