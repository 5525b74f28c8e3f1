"""TensorBoard's tab Sweeps on a large sweep, beside optuna-dashboard on the same trials.

Run:      python -m benchmarks.board
Time:     2 to 4 minutes on 2 CPU cores.

Nothing is trained: values and scores are made up. Both servers are new, and the files are in the page cache. optuna and
optuna-dashboard are left out where they are not installed. What a browser takes to draw is not measured.
"""

import contextlib
import json
import math
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from benchmarks import measure
from configs import fmnist_sweep
from gnexp.config.stored import record, to_json
from gnexp.space.parse import parse_space
from gnexp.workdir import files, result
from gnexp.workdir.result import Result

flags.DEFINE_integer("trials", 3000, "How many trials the sweep has.", lower_bound=10)
flags.DEFINE_integer("seeds", 3, "How many seeds each of them has.", lower_bound=1)
flags.DEFINE_integer("sweeps", 100, "How many sweeps of 30 trials the list has.", lower_bound=1)
flags.DEFINE_string("out", "build/benchmarks/board.json", "Where the figures go.")

_EPOCHS = 10
_SMALL = 30
_PATIENCE = 300  # seconds
_ROUNDS = 5  # of a refresh
_HEADERS = ("", "up (s)", "first view (s)", "bytes", "again (s)", "one trial more (s)", "bytes", "memory (MB)")


def draw(config: ConfigDict, count: int, first: int = 0) -> list[tuple[dict[str, Any], float]]:
    """Returns trials of a sweep's config: values and a score."""
    space, rng, found = parse_space(config), np.random.default_rng(first), []
    for _ in range(count):
        values: dict[str, Any] = {}
        for entry in space.entries:
            if entry.holds(values) and entry.values:
                values[entry.path] = entry.values[rng.integers(len(entry.values))]
            elif entry.holds(values):
                values[entry.path] = math.exp(rng.uniform(math.log(entry.low), math.log(entry.high)))
        found.append((values, rng.uniform(0.5, 0.95)))
    return found


def write_sweep(
    directory: pathlib.Path, config: ConfigDict, trials: Sequence[tuple], seeds: int, first: int = 0
) -> None:
    """Writes what a sweep leaves in its workdir, without event files and checkpoints; more trials extend it."""
    asked = to_json(config)
    asked["sweep"]["executions"] = seeds
    directory.mkdir(parents=True, exist_ok=True)
    (directory / files.CONFIG).write_text(json.dumps(asked))
    rng = np.random.default_rng(0)
    with mock.patch("os.fsync"):  # Nothing here has to survive a power cut.
        for number, (values, score) in enumerate(trials, first):
            name = f"{number:04}"
            for seed in range(seeds):
                done = _result(score + rng.normal(0, 0.003))
                folder = files.execution_folder(files.trial_folder(directory, name), seed)
                folder.mkdir(parents=True)
                result.write(folder, done)
                (folder / files.PROVENANCE).write_text('[{"started": "2026-01-01T00:00:00+00:00", "host": "node"}]')
            state = {"trial_id": name, "status": "COMPLETED", "message": None, "score": score}
            state |= {"metrics": {}, "best_step": 0}
            state["hyperparameters"] = {"space": [], "values": values}
            files.write_json(directory / files.ORACLE / f"trial_{name}" / "trial.json", state)


def _result(score: float) -> Result:
    history = [
        {"epoch": epoch, "val_accuracy": score * epoch / _EPOCHS, "val_loss": 1.0, "accuracy": 0.5, "loss": 1.0}
        for epoch in range(1, _EPOCHS + 1)
    ]
    return Result(
        result.SUCCESS,
        "digits",
        0.1,
        "val_accuracy",
        score,
        _EPOCHS,
        {"accuracy": score - 0.01, "loss": 0.5},
        10.0,
        history,
    )


@contextlib.contextmanager
def _server(command: Sequence[str], port: int) -> Iterator[tuple[str, int, float]]:
    """Gives the address of a server, its process and how many seconds it took to answer."""
    address, began = f"http://127.0.0.1:{port}/", time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(address, timeout=_PATIENCE).read()
                    break
                time.sleep(0.05)
            else:
                raise RuntimeError(f"{command} does not start")
            yield address, process.pid, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _ask(address: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    with urllib.request.urlopen(address, timeout=_PATIENCE) as response:
        answer = response.read()
    return time.perf_counter() - began, answer


def _memory(process: int) -> float:
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def _measure(
    command: Sequence[str], port: int, view: Callable[[str, bytes], str], add: Callable[[int], None]
) -> list[Any]:
    """Returns a row of the table.

    Args:
      command: starts the server.
      port: it listens there.
      view: returns a path to ask, given the address and the first answer, or b"".
      add: adds another trial; called with 0, 1, ...
    """
    with _server(command, port) as (address, process, up):
        before = _memory(process)
        seconds, first = _ask(view(address, b""))
        again, more = [], []
        for turn in range(_ROUNDS):
            time.sleep(0.5)
            again.append(_ask(view(address, first))[0])
            add(turn)
            time.sleep(0.5)
            took, answer = _ask(view(address, first))
            more.append(took)
        return [up, seconds, len(first), np.median(again), np.median(more), len(answer), _memory(process) - before]


def _gnexp(logdir: pathlib.Path, config: ConfigDict, count: int, seeds: int) -> list[Any]:
    port = _free_port()
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", "--host=127.0.0.1", f"--port={port}"]

    def view(address: str, known: bytes) -> str:
        version = json.loads(known)["version"] if known else ""
        return f"{address}data/plugin/sweeps/sweep?{urllib.parse.urlencode({'name': 'large', 'arg': version})}"

    def add(turn: int) -> None:
        number = count + turn
        write_sweep(logdir / "large", config, draw(config, 1, number), seeds, number)

    return _measure(command, port, view, add)


def _optuna(folder: pathlib.Path, config: ConfigDict, trials: Sequence[tuple]) -> list[Any]:
    optuna, port = measure.peer("optuna"), _free_port()
    measure.peer("optuna_dashboard")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = f"sqlite:///{folder}/optuna.db"
    study = optuna.create_study(storage=storage, direction="maximize")
    command = [sys.executable, "-c", "from optuna_dashboard._cli import main; main()", storage, "--port", str(port)]

    def made(values: dict[str, Any], score: float) -> Any:
        uniform, choices = optuna.distributions.FloatDistribution, optuna.distributions.CategoricalDistribution
        kinds = {
            path: choices((value,)) if isinstance(value, (str, int)) else uniform(1e-12, 100, log=True)
            for path, value in values.items()
        }
        return optuna.trial.create_trial(params=values, distributions=kinds, value=score)

    flat = [
        ({path: value for path, value in values.items() if isinstance(value, float)}, score) for values, score in trials
    ]
    study.add_trials([made(*each) for each in flat])

    def view(address: str, known: bytes) -> str:
        return f"{address}api/studies/{study._study_id}?after={len(trials) if known else 0}"

    return _measure(command, port, view, lambda turn: study.add_trial(made(*flat[turn])))


def _list(folder: pathlib.Path, config: ConfigDict, sweeps: int, seeds: int) -> float:
    """Returns how many seconds it takes until all sweeps of a folder are listed."""
    for number in range(sweeps):
        write_sweep(folder / f"sweep-{number:03}", config, draw(config, _SMALL, number), seeds)
    port = _free_port()
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={folder}", "--host=127.0.0.1", f"--port={port}"]
    with _server(command, port) as (address, _, _):
        began = time.perf_counter()
        while not json.loads(_ask(f"{address}data/plugin/sweeps/list")[1])["complete"]:
            pass
        return time.perf_counter() - began


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    count, seeds, sweeps = flags.FLAGS.trials, flags.FLAGS.seeds, flags.FLAGS.sweeps
    asked = fmnist_sweep.get_config()
    asked.sweep.max_trials = count + _ROUNDS
    config = record(asked, asked.data.name)
    trials = draw(config, count)
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_sweep(folder / "one" / "large", config, trials, seeds)
        rows["gnexp"] = _gnexp(folder / "one", config, count, seeds)
        try:
            rows["optuna-dashboard"] = _optuna(folder, config, trials)
        except ModuleNotFoundError as error:
            print(f"optuna-dashboard is left out: {error}")
        listed = _list(folder / "many", config, sweeps, seeds)
    figures = {name: dict(zip(_HEADERS[1:], row, strict=True)) for name, row in rows.items()}
    measure.write(flags.FLAGS.out, {"trials": count, "seeds": seeds, "sweeps": sweeps, "listed": listed, **figures})
    shown = [
        [name, *(f"{each:.3f}" if isinstance(each, float) else f"{each:,}" for each in row)]
        for name, row in rows.items()
    ]
    measure.show(shown, _HEADERS)
    print(f"{sweeps} sweeps of {_SMALL} trials are listed in {listed:.1f} s")


if __name__ == "__main__":
    app.run(main)
