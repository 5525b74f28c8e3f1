"""TensorBoard's HParams dashboard for the same sweep, as gnexp writes it and as plain keras-tuner writes it.

Run:      python -m benchmarks.dashboard
Time:     7 to 8 minutes on 2 CPU cores that also do other work.

The sweep is that of configs/fmnist_sweep.py; benchmarks/made_up_sweep.py says how it is written without training. The
files of both are in the page cache when TensorBoard reads them.
"""

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from absl import app, flags

from benchmarks import measure
from configs import fmnist_sweep
from gnexp.config.stored import record

flags.DEFINE_integer("sessions", 3000, "How many trainings the sweep has.", lower_bound=1, upper_bound=9999)
flags.DEFINE_integer("epochs", 10, "How many points each curve has.", lower_bound=1)
flags.DEFINE_string("out", "build/benchmarks/dashboard.json", "Where the figures go.")

_ROUNDS = 3  # in each, both sweeps have a new server in turn
_REQUESTS = 5  # of each kind in a round
_PATIENCE = 900  # seconds
_STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
# What a user would sort by. Plain keras-tuner leaves no curve of the best epoch so far, only the last epoch's figure.
_METRICS = {
    "gnexp": {"group": "", "tag": "best_val_accuracy"},
    "keras-tuner": {"group": "validation", "tag": "epoch_accuracy"},
}
_COLUMNS = {
    "loaded": "all sessions\nloaded (s)",
    "loading": "since server\nup (s)",
    "experiment": "experiment\n(s)",
    "groups": "100 groups\n(s)",
    "sorted": "100, sorted by\nmetric (s)",
    "answer": "answer\n(bytes)",
    "files": "event\nfiles",
    "bytes": "event files\n(bytes)",
}


@contextlib.contextmanager
def _server(logdir: pathlib.Path) -> Iterator[str]:
    """Gives the address of a TensorBoard on `logdir` as soon as it has one."""
    where = ["--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0", "--reload_interval", "1"]
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *where], stdout=said, stderr=said)
        try:
            while not (address := re.search(r"http://[\d.:]+/", pathlib.Path(said.name).read_text())):
                if process.poll() is not None:
                    raise RuntimeError(f"TensorBoard does not start: {pathlib.Path(said.name).read_text()}")
                time.sleep(0.01)
            yield address[0]
        finally:
            process.terminate()
            process.wait()


def _ask(address: str, what: str, **body: Any) -> tuple[float, bytes]:
    """Returns how many seconds the HParams plugin takes to answer, and the answer."""
    request = urllib.request.Request(
        f"{address}data/plugin/hparams/{what}",
        json.dumps({"experimentName": "", **body}).encode(),
        {"Content-Type": "application/json"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
        answer = response.read()
    return time.perf_counter() - began, answer


def _groups(address: str, count: int, *columns: dict[str, Any]) -> tuple[float, bytes]:
    return _ask(address, "session_groups", allowedStatuses=_STATUSES, colParams=columns, startIndex=0, sliceSize=count)


def _loaded(address: str, sessions: int, metric: dict[str, str]) -> bool:
    """Tells whether every session is there with its metric: one without it would come first."""
    answer = json.loads(_groups(address, 1, {"metric": metric, "order": "ORDER_ASC", "missingValuesFirst": True})[1])
    if answer["totalSize"] != sessions:
        return False
    names = [value["name"] for value in answer["sessionGroups"][0].get("metricValues", [])]
    return any(name["tag"] == metric["tag"] and name.get("group", "") == metric["group"] for name in names)


def _round(logdir: pathlib.Path, sessions: int, metric: dict[str, str]) -> dict[str, list[float]]:
    """Starts a server and returns what was measured of it; times are in seconds."""
    began = time.perf_counter()
    with _server(logdir) as address:
        up = time.perf_counter() - began
        while not _loaded(address, sessions, metric):
            if time.perf_counter() - began > _PATIENCE:
                raise RuntimeError(f"TensorBoard does not find the {sessions} sessions")
            time.sleep(0.05)
        loaded = time.perf_counter() - began
        time.sleep(2)  # TensorBoard looks for more every second.
        if not _loaded(address, sessions, metric):
            raise RuntimeError(f"the {sessions} sessions do not stay")
        by_metric = {"metric": metric, "order": "ORDER_DESC"}
        found: dict[str, list[float]] = {key: [] for key in ("experiment", "groups", "sorted")}
        for _ in range(_REQUESTS):
            found["experiment"].append(_ask(address, "experiment", hparamsLimit=1000)[0])
            seconds, answer = _groups(address, 100)
            found["groups"].append(seconds)
            found["sorted"].append(_groups(address, 100, by_metric)[0])
        # The start of a server is the same work for both sweeps, and takes longer than loading either.
        return {"loaded": [loaded], "loading": [loaded - up], **found, "answer": [len(answer)]}


def _measure(logdirs: dict[str, pathlib.Path], sessions: int) -> dict[str, dict[str, Any]]:
    """Returns for each sweep the medians, and under "measured" what they are the medians of."""
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in logdirs}
    for _ in range(_ROUNDS):
        for name, logdir in logdirs.items():
            for key, found in _round(logdir, sessions, _METRICS[name]).items():
                measured[name].setdefault(key, []).extend(found)
    figures = {}
    for name, logdir in logdirs.items():
        sizes = [path.stat().st_size for path in logdir.rglob("*tfevents*")]
        medians = {key: statistics.median(found) for key, found in measured[name].items()}
        figures[name] = {**medians, "files": len(sizes), "bytes": sum(sizes), "measured": measured[name]}
    return figures


def _show(figures: dict[str, dict[str, Any]], ratios: dict[str, float]) -> None:
    def shown(value: float) -> str:
        return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"

    rows = [[name, *(shown(each[key]) for key in _COLUMNS)] for name, each in figures.items()]
    rows.append(["keras-tuner / gnexp", *(f"{ratios[key]:.2f}" for key in _COLUMNS)])
    measure.show(rows, ["", *_COLUMNS.values()])


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    # keras-tuner logs only on this backend, and nothing here needs a GPU.
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    from benchmarks import made_up_sweep  # Takes seconds: it imports TensorFlow.

    asked = fmnist_sweep.get_config()
    asked.epochs, asked.sweep.max_trials = flags.FLAGS.epochs, flags.FLAGS.sessions
    config = record(asked, asked.data.name)
    trials = made_up_sweep.draw(config)
    with tempfile.TemporaryDirectory() as folder:
        logdirs = {name: pathlib.Path(folder) / name for name in _METRICS}
        made_up_sweep.write_gnexp(logdirs["gnexp"], config, trials)
        made_up_sweep.write_keras_tuner(logdirs["keras-tuner"], config, trials)
        figures = _measure(logdirs, len(trials))
    ratios = {key: figures["keras-tuner"][key] / figures["gnexp"][key] for key in _COLUMNS}
    asked_for = {"sessions": flags.FLAGS.sessions, "epochs": flags.FLAGS.epochs}
    measure.write(flags.FLAGS.out, {**asked_for, **figures, "keras-tuner / gnexp": ratios})
    _show(figures, ratios)


if __name__ == "__main__":
    app.run(main)
