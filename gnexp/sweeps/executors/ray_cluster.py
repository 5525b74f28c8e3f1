"""The Ray cluster of a sweep: how to connect to it, whether its head is alive, and what resources it has."""

import os
import pathlib
import signal
import socket
import time
from collections.abc import Mapping

import ray
from ml_collections import ConfigDict

from gnexp.errors import GnexpError, InterruptedTrainingError, UserError, first_line

_HEAD_SECONDS, _HEAD_LOST_SECONDS = 5.0, 20.0  # how often to check the head, and when to give it up
_OBJECT_STORE = 100 * 2**20  # bytes, close to Ray's minimum: tasks and their results are small
SAVED_EPOCHS = "every finished epoch is saved"
_STDERR = 2  # the file descriptor; Python's stderr has another one here (terminal.stderr)
GPUS, _TOKEN = "CUDA_VISIBLE_DEVICES", "RAY_AUTH_MODE"
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


def connect(address: str | None, directory: pathlib.Path) -> None:
    """Connects to a Ray cluster, or starts one on this machine.

    Args:
      address: as `ray.init` takes it, or None to start one.
      directory: the sweep's workdir.

    Raises:
      UserError: there is no cluster at the address, or Ray does not start.
      InterruptedTrainingError: SIGTERM came meanwhile.
    """
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    # Ray's own handler would end the process before anything is saved.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
    except SystemExit as error:  # from Ray's own handler
        raise InterruptedTrainingError(
            signal.SIGTERM, "before its next trial; everything is saved", directory
        ) from error
    except Exception as error:  # Ray raises plain Exception, too.
        if address == "auto" and isinstance(error, ConnectionError):
            raise UserError("--ray_address=auto: no Ray runs on this machine; `ray start --head` starts one") from error
        at = f" at --ray_address={address}" if address else ""
        hint = "" if os.environ.get(_TOKEN) else f"; if the cluster has a token: {_TOKEN}=token"
        raise UserError(f"Ray cannot be used{at}: {first_line(error)}{hint}") from error
    finally:
        signal.signal(signal.SIGTERM, handler)
    # Despite log_to_driver=False a thread of Ray prints the cluster's messages about lost processes to the terminal.
    ray._private.worker.print_to_stdstream = _to_backend_log


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


def a_node_has_room(needed: ConfigDict) -> bool:
    """Tells whether some node, if idle, has room for a trial with these `sweep.resources`."""
    return any(
        each["Alive"]
        and each["Resources"].get("CPU", 0) >= needed.cpus
        and each["Resources"].get("GPU", 0) >= needed.gpus
        for each in ray.nodes()
    )
