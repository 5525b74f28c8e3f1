"""Runs trials as tasks of a Ray cluster: one that is there already, or one of this machine alone.

The oracle, the dashboard's root and the terminal stay in the sweep's own process, the driver. A task holds nothing: it
finds in the trial's folder how far the trial is. So Ray may begin it anew on any node when a process or a node is lost,
which it does by itself. A trial that raises has come to its end, and is never retried.
"""

import dataclasses
import os
import pathlib
import pickle
import signal
import time

# Ray reads these when it is imported. A trial that no node has the memory for, it would else begin anew for ever.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_task_oom_retries", "3")

import ray
from ml_collections import ConfigDict
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gnexp import executions, experiment
from gnexp.console import SweepConsole
from gnexp.errors import GnexpError, InterruptedTrainingError, KilledError, UserError
from gnexp.executions import Done, Task
from gnexp.executors import node

_RETRIES = 3
_SECONDS_TO_A_SIGNAL = 0.2  # at the most, from when it comes until it is looked for
# That a trial waits: until it is said, where no node could take it, or where all may be busy (some are slow to begin).
_NO_NODE_SECONDS, _BUSY_SECONDS = 5.0, 30.0
_OBJECT_STORE = 100 * 2**20  # bytes, near Ray's least: tasks and what they come to are small
_GPUS = "CUDA_VISIBLE_DEVICES"
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
        self._waiting: dict[str, float] = {}  # since when a trial waits for a node
        self._said = ""
        self._saved = "everything is saved"

    def __enter__(self):
        """Connects to the cluster, or starts it.

        Raises:
          UserError: there is none at the address, or this machine has not what a trial is to get.
        """
        _connect(self._address)
        resources = self._config.sweep.resources
        if self._address is None and not self._nodes_for_a_trial():
            there_are = _in_words(ray.cluster_resources())
            ray.shutdown()
            raise UserError(f"config.sweep.resources is {self._needed()} for each trial: this machine has {there_are}")
        # Of the driver alone, for Ray has been started: it trains nothing, and leaves the GPUs to those who do.
        self._gpus = os.environ.get(_GPUS)
        os.environ[_GPUS] = "-1"
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(node.Board).options(num_cpus=0, scheduling_strategy=beside).remote()
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
            if not isinstance(error, InterruptedTrainingError):
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
        self._waiting[task.trial_id] = time.monotonic()
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
            _environment(self._config.sweep.resources.cpus),
            self._board,
        )
        self._tasks[reference] = task

    def wait(self) -> tuple[str, Done]:
        """Returns the trial id of a task that has ended, and what it came to.

        Raises:
          GnexpError: the cluster is lost.
          InterruptedTrainingError: SIGINT or SIGTERM came; every trial is saved.
          OSError, UserError: what `executions.run` raised on one of the nodes; the other trials are saved.
        """
        while not self._received:
            self._hear()
            for reference in self._ended():
                task = self._tasks.pop(reference)
                said = self._result(reference, task)
                if isinstance(said, InterruptedTrainingError):  # by who takes the node away, and not by us
                    self.submit(task)
                elif isinstance(said, Exception):
                    self._stop()
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

    def _result(self, reference: ray.ObjectRef, task: Task) -> Done | Exception:
        self._waiting.pop(task.trial_id, None)
        try:
            return ray.get(reference)
        except RayTaskError as error:
            last = str(error).strip().rpartition("\n")[2]
            return UserError(f"a node of the Ray cluster cannot run trials, is gnexp installed there? {last}")
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            why = str(error).strip().partition("\n")[0]
            return executions.fail(task, KilledError(f"its process was lost {1 + _RETRIES} times, last so: {why}"))
        except RayError as error:
            why = str(error).strip().partition("\n")[0]
            return GnexpError(
                f"the Ray cluster is lost ({why}); every finished epoch is saved, and the same command goes on"
            )

    def _hear(self) -> None:
        """Shows what running trials say, and what the others wait for."""
        try:
            news = ray.get(self._board.take.remote(), timeout=_SECONDS_TO_A_SIGNAL)
        except RayError:  # It is slow, or is begun anew; trials go on without it.
            news = {}
        in_flight = {task.trial_id for task in self._tasks.values()}
        for trial_id in news.keys() & in_flight:
            self._waiting.pop(trial_id, None)
            self._console.progress(trial_id, news[trial_id])
        longest = time.monotonic() - min(self._waiting.values(), default=time.monotonic())
        if longest < _NO_NODE_SECONDS:
            return
        if not self._nodes_for_a_trial():
            self._say(f"waiting for a node with {self._needed()}: the cluster has none now")
        elif longest >= _BUSY_SECONDS:
            self._say(
                f"waiting for {self._needed()}: of the cluster's {_in_words(ray.cluster_resources())} too few are free"
            )

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            self._console.say(what)

    def _stop(self) -> OSError | UserError | None:
        """Has every trial saved, and returns why one could not be.

        One that ends just then has said so in its folder, for when the sweep goes on.
        """
        for reference in self._tasks:
            ray.cancel(reference)
        errors = []
        while self._tasks:
            for reference in self._ended():
                del self._tasks[reference]
                try:
                    said = ray.get(reference)
                except TaskCancelledError:  # It had not begun.
                    continue
                except RayError:  # The cluster ends as well, when a whole job of Slurm is told to.
                    self._saved = "every finished epoch is saved"
                    continue
                if isinstance(said, (OSError, UserError)):
                    errors.append(said)
        return errors[0] if errors else None

    def _needed(self) -> str:
        resources = self._config.sweep.resources
        return _in_words({"CPU": resources.cpus, "GPU": resources.gpus})

    def _nodes_for_a_trial(self) -> list[str]:
        needed = self._config.sweep.resources
        return [
            each["NodeID"]
            for each in ray.nodes()
            if each["Alive"]
            and each["Resources"].get("CPU", 0) >= needed.cpus
            and each["Resources"].get("GPU", 0) >= needed.gpus
        ]


def _connect(address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    # Ray's own handler would end the process before anything is saved.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().partition("\n")[0]
        raise UserError(f"Ray cannot be used{f' at --ray_address={address}' if address else ''}: {said}") from error
    finally:
        signal.signal(signal.SIGTERM, handler)


def _environment(cpus: int) -> dict[str, str]:
    """Returns what a node sets before it imports TensorFlow or JAX; OpenMP's threads and the GPUs seen are Ray's."""
    found = {name: os.environ[name] for name in _ENVIRONMENT if os.environ.get(name)}
    if "GNEXP_DATA_DIR" in found:
        found["GNEXP_DATA_DIR"] = str(pathlib.Path(found["GNEXP_DATA_DIR"]).absolute())
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"), str(cpus))
    return {**found, **threads}


def _in_words(resources) -> str:
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    words = f"{cpus:g} CPU{'' if cpus == 1 else 's'}"
    return words + (f" and {gpus:g} GPU{'' if gpus == 1 else 's'}" if gpus else "")
