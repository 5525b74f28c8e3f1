"""Runs trials as tasks of a Ray cluster: one that is there already, or one of this machine alone.

The oracle, the dashboard's root and the terminal stay in the sweep's own process, the driver. A task holds nothing: it
finds in the trial's folder how far the trial is. So Ray may begin it anew on any node when a process or a node is lost,
which it does by itself. A trial that raises has come to its end, and is never retried.
"""

import contextlib
import dataclasses
import os
import pathlib
import pickle
import signal
import socket
import time

# Ray reads these when it is imported. A trial that no node has the memory for, it would else begin anew for ever.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_task_oom_retries", "3")

import ray
from ml_collections import ConfigDict
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gnexp import executions, experiment
from gnexp.console import SweepConsole
from gnexp.errors import GnexpError, InterruptedTrainingError, InUseError, KilledError, UserError
from gnexp.executions import Done, Task
from gnexp.executors import node

_RETRIES = 3
_SECONDS_TO_A_SIGNAL = 0.2  # at the most, from when it comes until it is looked for
# Of a trial's silence, until it is said: where no node could take it, or where all may be busy.
_NO_NODE_SECONDS, _BUSY_SECONDS = 5.0, 30.0
_HEAD_SECONDS, _HEAD_LOST_SECONDS = 5.0, 20.0  # how often it is looked at, and after how long it is given up
_OBJECT_STORE = 100 * 2**20  # bytes, near Ray's least: tasks and what they come to are small
_SAVED_EPOCHS = "every finished epoch is saved"
_BACKEND_LOG = 2  # the file descriptor: Python's stderr is another one here (console.native_stderr)
_GPUS, _TOKEN = "CUDA_VISIBLE_DEVICES", "RAY_AUTH_MODE"
_ENVIRONMENT = ("KERAS_BACKEND", "GNEXP_DATA_DIR")


class Ray:
    """The executor for a Ray cluster; a context, whose end leaves no task behind, and no Ray that it started.

    Args:
      config: the sweep's.
      directory: its workdir, on a file system that all nodes share.
      console: where the progress goes.
      received: gets the signals that are to stop the sweep (`trial.stop_signals`).
      address: the cluster's, as `ray.init` takes it, or None to start one here.

    Attributes:
      slots: how many tasks it takes at a time.
    """

    def __init__(
        self,
        config: ConfigDict,
        directory: pathlib.Path,
        console: SweepConsole,
        received: list[int],
        address: str | None,
    ):
        """Connects to nothing yet."""
        self.slots = config.sweep.parallel
        self._config = config
        self._directory = directory.absolute()
        self._console = console
        self._received = received
        self._address = address
        self._tasks: dict[ray.ObjectRef, Task] = {}
        # time.monotonic() of the last news of each trial in flight, of its submission where it has not begun, ...
        self._heard: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._head_checked = self._head_seen = time.monotonic()  # ... and of the head.
        self._begun: set[str] = set()
        self._said = ""
        self._saved = "everything is saved"

    def __enter__(self):
        """Connects to the cluster, or starts it.

        Raises:
          UserError: there is none at the address, or this machine has not what a trial is to get.
        """
        _connect(self._address, self._directory)
        resources = self._config.sweep.resources
        if self._address is None and not self._a_node_has_room():
            there_are = _in_words(ray.cluster_resources())
            ray.shutdown()
            raise UserError(f"config.sweep.resources is {self._needed()} for each trial: this machine has {there_are}")
        # Of the driver alone, for Ray has been started: it trains nothing, and leaves the GPUs to those who do.
        self._gpus = os.environ.get(_GPUS)
        os.environ[_GPUS] = "-1"
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(node.Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=beside).remote()
        self._run = ray.remote(node.run).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_retries=_RETRIES,
            scheduling_strategy="SPREAD",  # Trials on one node share the bandwidth of its memory.
        )
        return self

    def __exit__(self, kind, error, traceback):
        """Leaves the cluster, once every trial is saved unless a signal says not to wait."""
        try:
            if not isinstance(error, (InterruptedTrainingError, _ClusterLostError)):
                self._stop()
        finally:
            ray.shutdown()
            os.environ.pop(_GPUS)
            if self._gpus is not None:
                os.environ[_GPUS] = self._gpus

    def submit(self, task: Task) -> None:
        """Takes a task, which begins when a node has room for it."""
        self._console.trial(task.trial_id, task.epochs)
        self._console.progress(task.trial_id, f"waiting for {self._needed()}")
        self._heard[task.trial_id] = self._waiting[task.trial_id] = time.monotonic()
        former = task.promoted_from and task.promoted_from.absolute()
        absolute = dataclasses.replace(task, directory=task.directory.absolute(), promoted_from=former)
        data = self._config.data.to_dict()
        if data["directory"]:
            data["directory"] = str(pathlib.Path(data["directory"]).expanduser().absolute())
        reference = self._run.remote(
            task.trial_id,
            pickle.dumps(absolute),
            self._directory,
            experiment.name(self._directory),
            data,
            _environment(self._config.sweep.resources),
            self._board,
        )
        self._tasks[reference] = task

    def wait(self) -> tuple[str, Done]:
        """Returns the trial id of a task that has ended, and what it came to.

        Raises:
          GnexpError: the cluster is lost, or a node cannot run trials.
          InterruptedTrainingError: SIGINT or SIGTERM came; every trial is saved.
          OSError, UserError: what `executions.run` raised on one of the nodes; the other trials are saved.
        """
        while not self._received:
            try:
                self._hear()
                ended = self._ended()
            except RayError as error:
                raise _ClusterLostError(_first_line(error)) from error
            # A signal to all of a cluster's processes ends trials as well, which then have not failed.
            for reference in ended if not self._received else ():
                task = self._tasks.pop(reference)
                self._waiting.pop(task.trial_id, None)
                said = self._result(reference, task)
                if said is None:
                    self.submit(task)
                elif isinstance(said, Exception):
                    raise said
                else:
                    return task.trial_id, said
        running = len(self._tasks)
        if error := self._stop():
            raise error
        where = "in a trial" if running == 1 else f"in {running} trials"
        raise InterruptedTrainingError(self._received[0], f"{where}; {self._saved}", self._directory)

    def _ended(self) -> list[ray.ObjectRef]:
        """Returns at most one of the tasks that have ended, or none where for a moment none has."""
        return ray.wait(list(self._tasks), num_returns=1, timeout=_SECONDS_TO_A_SIGNAL)[0]

    def _result(self, reference: ray.ObjectRef, task: Task) -> Done | Exception | None:
        """Returns what a task came to, why the sweep must stop, or None where the task is to be submitted anew."""
        try:
            said = ray.get(reference)
        except TaskCancelledError:  # by a stray signal, and not by us
            return None
        except RayTaskError as error:
            last = str(error).strip().rpartition("\n")[2]
            hint = "; is gnexp installed there?" if "ImportError" in last or "ModuleNotFoundError" in last else ""
            return GnexpError(f"a node of the Ray cluster cannot run trials{hint} ({last})")
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            why = f"its process was lost {1 + _RETRIES} times, last so: {_first_line(error)}"
            return executions.fail(task, KilledError(why))
        except RayError as error:
            return _ClusterLostError(_first_line(error))
        # Who takes the node away interrupts a trial, too.
        return None if isinstance(said, InterruptedTrainingError) else said

    def _hear(self) -> None:
        """Shows what running trials say, and what the others wait for."""
        news = {}
        with contextlib.suppress(GetTimeoutError, RayActorError):  # It is slow, or begun anew; trials go on without it.
            news = ray.get(self._board.take.remote(), timeout=_SECONDS_TO_A_SIGNAL)
        now = time.monotonic()
        in_flight = {task.trial_id for task in self._tasks.values()}
        for trial_id in news.keys() & in_flight:
            self._heard[trial_id] = now
            self._waiting.pop(trial_id, None)
            self._console.progress(trial_id, news[trial_id][-1])
            for text in news[trial_id]:
                if text.startswith(node.STARTING) and trial_id in self._begun:
                    self._console.say(f"trial {trial_id}: its process was lost; another is {text}")
                self._begun.add(trial_id)
        # Of a head that is gone Ray's answer would be to end the process, silently, after a minute.
        if self._head_answers():
            self._say_what_trials_wait_for(now, in_flight)

    def _say_what_trials_wait_for(self, now: float, in_flight: set[str]) -> None:
        silent = max((now - self._heard[trial_id] for trial_id in in_flight), default=0.0)
        waiting = max((now - since for since in self._waiting.values()), default=0.0)
        what = ""
        if silent > _NO_NODE_SECONDS and not self._a_node_has_room():
            what = f"waiting for a node with {self._needed()}: the cluster has none now"
        elif waiting > _BUSY_SECONDS:
            there_are = _in_words(ray.cluster_resources())
            what = f"waiting for {self._needed()}: of the cluster's {there_are} too few are free"
        if what and what != self._said:
            self._console.say(what)
        self._said = what

    def _head_answers(self) -> bool:
        """Looks for the cluster's head every few seconds, and returns whether it just was there.

        Raises:
          _ClusterLostError: it has been gone for long.
        """
        now = time.monotonic()
        if now < self._head_checked + _HEAD_SECONDS:
            return False
        self._head_checked = now
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError as error:
            if now > self._head_seen + _HEAD_LOST_SECONDS:
                why = f"its head at {host}:{port} does not answer: {error.strerror or error}"
                raise _ClusterLostError(why) from error
            return False
        self._head_seen = now
        return True

    def _stop(self) -> OSError | UserError | None:
        """Has every trial saved, and returns why one could not be.

        One that ends just then has said so in its folder, for when the sweep goes on.
        """
        errors = []
        try:
            for reference in self._tasks:
                ray.cancel(reference)
            while self._tasks:
                for reference in self._ended():
                    del self._tasks[reference]
                    said = self._last_words(reference)
                    if isinstance(said, (OSError, UserError)) and not isinstance(said, InUseError):
                        errors.append(said)
        except RayError:
            self._saved = _SAVED_EPOCHS
        return errors[0] if errors else None

    def _last_words(self, reference: ray.ObjectRef) -> Done | Exception | None:
        """Returns what a task that was told to stop came to, or None where it had not begun, or was lost."""
        try:
            return ray.get(reference)
        except TaskCancelledError:
            return None
        except RayError:  # When Slurm ends a job, the cluster ends as well.
            self._saved = _SAVED_EPOCHS
            return None

    def _needed(self) -> str:
        resources = self._config.sweep.resources
        return _in_words({"CPU": resources.cpus, "GPU": resources.gpus})

    def _a_node_has_room(self) -> bool:
        """Tells whether a node could take a trial, were it idle."""
        needed = self._config.sweep.resources
        return any(
            each["Alive"]
            and each["Resources"].get("CPU", 0) >= needed.cpus
            and each["Resources"].get("GPU", 0) >= needed.gpus
            for each in ray.nodes()
        )


class _ClusterLostError(GnexpError):
    """There is nobody left to ask for the trials."""

    def __init__(self, why: str):
        super().__init__(f"the Ray cluster is lost; {_SAVED_EPOCHS}, the same command goes on. {why}")


def _connect(address: str | None, directory: pathlib.Path) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    # Ray's own handler would end the process before anything is saved.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
    except SystemExit as error:  # of Ray's own handler
        raise InterruptedTrainingError(
            signal.SIGTERM, "before its next trial; everything is saved", directory
        ) from error
    except Exception as error:  # Ray raises plain Exception, too.
        if address == "auto" and isinstance(error, ConnectionError):
            raise UserError("--ray_address=auto: no Ray runs on this machine; `ray start --head` starts one") from error
        at = f" at --ray_address={address}" if address else ""
        hint = "" if os.environ.get(_TOKEN) else f"; if the cluster has a token: {_TOKEN}=token"
        raise UserError(f"Ray cannot be used{at}: {_first_line(error)}{hint}") from error
    finally:
        signal.signal(signal.SIGTERM, handler)
    # Whatever is told, a thread of Ray prints to the terminal what the cluster says of lost processes.
    ray._private.worker.print_to_stdstream = _to_backend_log


def _to_backend_log(data, **_) -> None:
    os.write(_BACKEND_LOG, "".join(f"{line}\n" for line in data["lines"]).encode())


def _environment(resources) -> dict[str, str]:
    """Returns what a node sets before it imports TensorFlow or JAX."""
    found = {name: os.environ[name] for name in _ENVIRONMENT if os.environ.get(name)}
    if "GNEXP_DATA_DIR" in found:
        found["GNEXP_DATA_DIR"] = str(pathlib.Path(found["GNEXP_DATA_DIR"]).absolute())
    # Ray limits OpenMP's threads, and says which GPUs are seen: all of them where a trial is to get none.
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"), str(resources.cpus))
    return {**found, **threads, **({} if resources.gpus else {_GPUS: "-1"})}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _in_words(resources) -> str:
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    words = f"{cpus:g} CPU{'' if cpus == 1 else 's'}"
    return words + (f" and {gpus:g} GPU{'' if gpus == 1 else 's'}" if gpus else "")
