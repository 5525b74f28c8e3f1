"""The Ray cluster of a sweep: how to connect to it, whether its head is alive, and what resources it has."""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ml_collections import ConfigDict
from ray._private import ray_constants
from ray._private.accelerators import get_accelerator_manager_for_resource

from gnexp.errors import GnexpError, InterruptedTrainingError, UserError, first_line
from gnexp.training.signals import in_main_thread

_HEAD_SECONDS, _HEAD_LOST_SECONDS = 5.0, 20.0  # how often to check the head, and when to give it up
_OBJECT_STORE = 100 * 2**20  # bytes, close to Ray's minimum: tasks and their results are small
SAVED_EPOCHS = "every finished epoch is saved"
_STDERR = 2  # the file descriptor; Python's stderr has another one here (terminal.stderr)
_SECONDS_TO_A_SIGNAL = 0.2  # the longest that a signal goes unnoticed
GPUS, _MODE, _TOKEN = "CUDA_VISIBLE_DEVICES", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
_ENVIRONMENT = ("KERAS_BACKEND", "GNEXP_DATA_DIR")


class ClusterLostError(GnexpError):
    """The cluster no longer answers."""

    def __init__(self, why: str):
        super().__init__(f"the Ray cluster is lost ({why}); {SAVED_EPOCHS}, and the same command resumes the sweep")


class Head:
    """Watches the cluster's head. Once that is gone, a call to Ray ends the process after a minute."""

    def __init__(self):
        self._checked = self._seen = time.monotonic()

    def answers(self) -> bool:
        """Checks the head every few seconds, and returns whether it was checked now and answered.

        Raises:
          ClusterLostError: it has not answered for too long.
        """
        now = time.monotonic()
        if now < self._checked + _HEAD_SECONDS:
            return False
        self._checked = now
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError as error:
            if now > self._seen + _HEAD_LOST_SECONDS:
                why = f"its head at {host}:{port} does not answer: {error.strerror or error}"
                raise ClusterLostError(why) from error
            return False
        self._seen = now
        return True


@contextlib.contextmanager
def connected(address: str | None, directory: pathlib.Path, received: list[int]) -> Iterator[None]:
    """Connects to a Ray cluster, or starts one on this machine, which nobody else can reach, until the block ends.

    Args:
      address: as `ray.init` takes it, or None to start one.
      directory: the sweep's workdir.
      received: the list that gets the signals to stop the sweep (`training.signals.stop_signals`).

    Raises:
      ClusterLostError: the cluster died while it started.
      UserError: there is no cluster at the address, or Ray does not start.
      InterruptedTrainingError: SIGINT or SIGTERM came meanwhile.
    """
    with contextlib.nullcontext({"address": address}) if address else _own_cluster() as options:
        over = threading.Event()
        try:
            _init(options, directory, received, over)
        except GnexpError:
            raise
        except Exception as error:  # Ray raises plain Exception, too.
            if address == "auto" and isinstance(error, ConnectionError):
                raise UserError(
                    "--ray_address=auto: no Ray runs on this machine; `ray start --head` starts one"
                ) from error
            at = f" at --ray_address={address}" if address else ""
            hint = "" if os.environ.get(_MODE) else f"; if the cluster has a token: {_MODE}=token"
            raise UserError(f"Ray cannot be used{at}: {first_line(error)}{hint}") from error
        try:
            # Despite log_to_driver=False a thread of Ray prints the cluster's messages about lost processes to the
            # terminal.
            ray._private.worker.print_to_stdstream = _to_backend_log
            yield
        finally:
            ray.shutdown()
            over.set()


@contextlib.contextmanager
def _own_cluster() -> Iterator[dict[str, Any]]:
    """Yields the options of `ray.init` for a cluster that only this user can reach, and only from this machine.

    Ray lets everybody write to its folders, so they are put into one that nobody else may enter. It would write its
    token to a file that everybody may read, so it gets one that is in no file.
    """
    # Not in TMPDIR, which may be long: the paths of Ray's sockets have at most 107 characters.
    folder = tempfile.mkdtemp(prefix="gnexp-", dir=os.environ.get("RAY_TMPDIR") or "/tmp")
    former = {name: os.environ.get(name) for name in (_MODE, _TOKEN)}
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_TOKEN] = secrets.token_hex(32)
    # As on macOS. Ray would take an address of loopback for a mistake, and listen on every interface.
    ray_constants.ENABLE_RAY_CLUSTER = False
    _read_environment()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    try:
        yield {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_temp_dir": f"{folder}/ray",
        }
    except ClusterLostError:
        raise  # Its logs say why.
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        for name, value in former.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _read_environment()


def _read_environment() -> None:
    """Has Ray read its token and whether there is one again, which it does only once in a process."""
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
    ray._raylet.Config.initialize("")


def _init(options: dict[str, Any], directory: pathlib.Path, received: list[int], over: threading.Event) -> None:
    """Runs `ray.init` in a thread: it takes no signal, and ends the process a minute after its cluster has died.

    The thread stays until `over` is set, because the kernel ends what a thread has started for Ray with the thread.
    """
    raised: list[Exception] = []
    tried = threading.Event()

    def init() -> None:
        try:
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            raised.append(error)
            over.set()
        tried.set()
        over.wait()

    threading.Thread(target=init, daemon=True).start()
    while not tried.wait(_SECONDS_TO_A_SIGNAL):
        _take_signals_back()
        if received:
            raise InterruptedTrainingError(received[0], "before its next trial; everything is saved", directory)
        if _head_died():
            logs = options.get("_temp_dir")
            raise ClusterLostError("its gcs_server died while it started" + (f", see {logs}" if logs else ""))
    _take_signals_back()
    if raised:
        raise raised[0]


def _take_signals_back() -> None:
    """Puts this process's handlers back in the place of Ray's own, which end it before anything is saved."""
    if in_main_thread():  # Otherwise Ray could not set its own, either.
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.getsignal(signum))


def _head_died() -> bool:
    """Tells whether a Ray head that this process has started is dead; where there is no /proc, it cannot tell."""
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = path.read_text().rpartition(")")
        except OSError:  # It has ended meanwhile, or is another user's.
            continue
        state, parent = after.split()[:2]
        if int(parent) == os.getpid() and before.endswith("(gcs_server") and state == "Z":
            return True
    return False


def _to_backend_log(data, **_) -> None:
    os.write(_STDERR, "".join(f"{line}\n" for line in data["lines"]).encode())


def environment(resources: ConfigDict) -> dict[str, str]:
    """Returns the variables that a node sets before it imports TensorFlow or JAX."""
    found = {name: os.environ[name] for name in _ENVIRONMENT if os.environ.get(name)}
    if "GNEXP_DATA_DIR" in found:
        found["GNEXP_DATA_DIR"] = str(pathlib.Path(found["GNEXP_DATA_DIR"]).absolute())
    # Ray itself limits OpenMP's threads and sets the visible GPUs, but shows all of them to a trial that gets none.
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"), str(resources.cpus))
    return {**found, **threads, **({} if resources.gpus else {GPUS: "-1"})}


def in_words(resources: Mapping[str, float]) -> str:
    """Returns an amount of CPUs and GPUs in words."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    words = f"{cpus:g} CPU{'' if cpus == 1 else 's'}"
    return words + (f" and {gpus:g} GPU{'' if gpus == 1 else 's'}" if gpus else "")


def gpus_here() -> int:
    """Returns how many GPUs Ray would find on this machine."""
    manager = get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids()
    count = manager.get_current_node_num_accelerators()
    return count if visible is None else min(count, len(visible))


def a_node_has_room(needed: ConfigDict) -> bool:
    """Tells whether some node, if idle, has room for a trial with these `sweep.resources`."""
    return any(
        each["Alive"]
        and each["Resources"].get("CPU", 0) >= needed.cpus
        and each["Resources"].get("GPU", 0) >= needed.gpus
        for each in ray.nodes()
    )
