"""TensorBoard's HParams dashboard for the same sweep, as gnexp writes it and as plain keras-tuner writes it.

Run:      python -m benchmarks.hparams
Time:     7 to 8 minutes on 2 CPU cores that also do other work.

The sweep is that of configs/fmnist_sweep.py; benchmarks/made_up_sweep.py says how it is written without training. The
files of both are in the page cache when TensorBoard reads them.
"""

import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

from absl import app, flags

from benchmarks import measure, servers
from configs import fmnist_sweep
from gnexp.config.stored import record

flags.DEFINE_integer("sessions", 3000, "How many trainings the sweep has.", lower_bound=1, upper_bound=9999)
flags.DEFINE_integer("epochs", 10, "How many points each curve has.", lower_bound=1)
flags.DEFINE_string("out", "build/benchmarks/hparams.json", "Where the figures go.")

_ROUNDS = 3  # in each, both sweeps have a new server in turn
_REQUESTS = 5  # of each kind in a round
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


def _round(logdir: pathlib.Path, sessions: int, metric: dict[str, str]) -> dict[str, list[float]]:
    """Starts a server and returns what was measured of it; times are in seconds."""
    began = time.perf_counter()
    with servers.tensorboard(logdir) as (address, _):
        up = time.perf_counter() - began
        servers.wait_until_loaded(address, sessions, metric)
        loaded = time.perf_counter() - began
        time.sleep(2)  # TensorBoard looks for more every second.
        servers.check_loaded(address, sessions, metric)
        by_metric = {"metric": metric, "order": "ORDER_DESC"}
        found: dict[str, list[float]] = {key: [] for key in ("experiment", "groups", "sorted")}
        for _ in range(_REQUESTS):
            found["experiment"].append(servers.ask(address, "experiment", hparamsLimit=1000)[0])
            seconds, answer = servers.groups(address, 100)
            found["groups"].append(seconds)
            found["sorted"].append(servers.groups(address, 100, by_metric)[0])
        # The start of a server is the same work for both sweeps, and takes longer than loading either.
        return {"loaded": [loaded], "loading": [loaded - up], **found, "answer": [len(answer)]}


def _measure(logdirs: dict[str, pathlib.Path], sessions: int) -> dict[str, dict[str, Any]]:
    """Returns for each sweep the medians, and under "measured" what they are the medians of."""
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in logdirs}
    for _ in range(_ROUNDS):
        for name, logdir in logdirs.items():
            for key, found in _round(logdir, sessions, servers.METRICS[name]).items():
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
        logdirs = {name: pathlib.Path(folder) / name for name in servers.METRICS}
        made_up_sweep.write_gnexp(logdirs["gnexp"], config, trials)
        made_up_sweep.write_keras_tuner(logdirs["keras-tuner"], config, trials)
        figures = _measure(logdirs, len(trials))
    ratios = {key: figures["keras-tuner"][key] / figures["gnexp"][key] for key in _COLUMNS}
    asked_for = {"sessions": flags.FLAGS.sessions, "epochs": flags.FLAGS.epochs}
    measure.write(flags.FLAGS.out, {**asked_for, **figures, "keras-tuner / gnexp": ratios})
    _show(figures, ratios)


if __name__ == "__main__":
    app.run(main)
