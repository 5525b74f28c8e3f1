"""Forks of one process that has imported everything: each starts the command at once, so that many can be killed.

The process is started with `python -m tests.support.nursery`; it computes nothing itself, because a fork of a process
in which TensorFlow has started its threads would wait for them forever.
"""

import ctypes
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1
_SOON = 0.01


class Nursery:
    """Runs the command in forks, one at a time; a context that leaves no process behind."""

    def __init__(self, log: pathlib.Path):
        """Starts the process that is forked; `log` gets what the forks say."""
        command = [sys.executable, "-m", "tests.support.nursery", str(log)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._log = log
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "ready\n", log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, argv: Sequence[str], patience: float, worker_after: float | None = None) -> tuple[int | None, int]:
        """Runs the command, and kills it with SIGKILL after `patience` seconds.

        Args:
          argv: its flags.
          patience: in seconds.
          worker_after: after how many seconds to kill one of its processes first, or None.

        Returns:
          The exit code, None if it was killed; and how many processes were killed.
        """
        print(json.dumps([list(argv), patience, worker_after]), file=self._process.stdin, flush=True)
        code, kills = json.loads(self._process.stdout.readline())
        return code, kills

    def said(self) -> str:
        """Returns what the last fork said."""
        return self._log.read_text()


def _children(process: int) -> list[int]:
    found = []
    for path in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


def _is_alive(process: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _command(argv: Sequence[str], log: int) -> None:
    """Runs the command in a fork, and never returns."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # A worker that is forked need not import TensorFlow, either; nothing else is different in it.
    real = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: real("fork" if method == "spawn" else method)
    from gnexp import train

    # The check of the networks starts TensorFlow's threads, and then no worker could be forked; it writes nothing.
    train._check = lambda config, splits: "network: not checked"
    sys.argv = ["train", *argv]
    code = 1
    try:
        train.main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(process: int, patience: float, worker_after: float | None) -> tuple[int | None, int]:
    began, kills = time.monotonic(), 0
    while time.monotonic() < began + patience:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), kills
        if worker_after is not None and time.monotonic() > began + worker_after:
            worker_after = None
            # The oldest child may be multiprocessing's resource tracker, which trains nothing.
            for worker in _children(process)[-1:]:
                os.kill(worker, signal.SIGKILL)
                kills += 1
        time.sleep(_SOON)
    workers = _children(process)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    # Unlike a spawned worker, a forked one has the workdir's lock until it notices that the sweep is dead.
    while any(map(_is_alive, workers)):
        time.sleep(_SOON)
    return None, kills + 1


def _main(log: str) -> None:
    import keras_tuner  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import tensorboard.plugins.hparams.summary_v2  # noqa: F401

    import gnexp.data.digits
    import gnexp.sweeps.sweep
    import gnexp.training.run  # noqa: F401
    from gnexp import train  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        argv, patience, worker_after = json.loads(line)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        if not (process := os.fork()):
            _command(argv, descriptor)
        os.close(descriptor)
        print(json.dumps(_watch(process, patience, worker_after)), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
