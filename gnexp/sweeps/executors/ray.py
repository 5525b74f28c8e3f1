"""Runs trials as tasks of a Ray cluster: one that is running already, or one that is started on this machine.

The oracle, the sweep's own run in the dashboard and the terminal stay in the sweep's process, the driver. A task has no
state: it reads from the trial's folder how far the trial is. So Ray can restart it on any node when a process or a node
is lost, and does so by itself. A trial that raises has failed, and is never retried.
"""

import contextlib
import dataclasses
import os
import pathlib
import pickle
import time

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

from gnexp.errors import GnexpError, InterruptedTrainingError, InUseError, KilledError, UserError, first_line, last_line
from gnexp.functions import names
from gnexp.sweeps import dashboard, trial
from gnexp.sweeps.console import SweepConsole
from gnexp.sweeps.executors import node, ray_cluster
from gnexp.sweeps.executors.ray_cluster import GPUS, SAVED_EPOCHS, ClusterLostError, Head, in_words
from gnexp.sweeps.trial import Done, Task

_RETRIES = 3
_SECONDS_TO_A_SIGNAL = 0.2  # the longest that a signal goes unnoticed
# How long a trial may be silent until the console says why: because no node has room for it, or because all are busy.
_NO_NODE_SECONDS, _BUSY_SECONDS = 5.0, 30.0


class Ray:
    """The executor for a Ray cluster; a context that leaves no task behind, and no cluster that it started.

    Args:
      config: the sweep's.
      directory: its workdir, on a file system that all nodes share.
      console: where the progress goes.
      received: the list that gets the signals to stop the sweep (`training.signals.stop_signals`).
      address: the cluster's, as `ray.init` takes it, or None to start one here.

    Attributes:
      slots: how many tasks it runs at a time.
    """

    def __init__(
        self,
        config: ConfigDict,
        directory: pathlib.Path,
        console: SweepConsole,
        received: list[int],
        address: str | None,
    ):
        self.slots = config.sweep.parallel
        self._config = config
        self._directory = directory.absolute()
        self._console = console
        self._received = received
        self._address = address
        self._tasks: dict[ray.ObjectRef, Task] = {}
        # time.monotonic() of the last news of each trial in flight, or of its submission if it has not started
        self._heard: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._head = Head()
        self._begun: set[str] = set()
        self._said = ""
        self._saved = "everything is saved"

    def __enter__(self):
        """Connects to the cluster, or starts it.

        Raises:
          UserError: there is no cluster at the address, or this machine lacks what a trial needs.
          ClusterLostError, InterruptedTrainingError: as from `ray_cluster.connected`.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(ray_cluster.connected(self._address, self._directory, self._received))
            if self._address is None and not ray_cluster.a_node_has_room(self._config.sweep.resources):
                there_are = in_words(ray.cluster_resources())
                raise UserError(
                    f"config.sweep.resources is {self._needed()} for each trial: this machine has {there_are}"
                )
            self._leave = stack.pop_all()
        resources = self._config.sweep.resources
        # Ray has started, so this hides the GPUs only from the driver, which trains nothing.
        self._gpus = os.environ.get(GPUS)
        os.environ[GPUS] = "-1"
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._progress = (
            ray.remote(node.Progress).options(num_cpus=0, max_restarts=-1, scheduling_strategy=beside).remote()
        )
        self._run = ray.remote(node.run).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_retries=_RETRIES,
            scheduling_strategy="SPREAD",  # Trials on one node share its memory bandwidth.
        )
        return self

    def __exit__(self, kind, error, traceback):
        """Leaves the cluster; every trial is saved first, unless the sweep was interrupted or the cluster is lost."""
        try:
            if not isinstance(error, (InterruptedTrainingError, ClusterLostError)):
                self._stop()
        finally:
            os.environ.pop(GPUS)
            if self._gpus is not None:
                os.environ[GPUS] = self._gpus
            self._leave.__exit__(kind, error, traceback)

    def submit(self, task: Task) -> None:
        """Submits a task, which starts when a node has room for it."""
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
            dashboard.sweep_name(self._directory),
            data,
            ray_cluster.environment(self._config.sweep.resources),
            [str(folder) for folder in names.folders()],
            self._progress,
        )
        self._tasks[reference] = task

    def wait(self) -> tuple[str, Done]:
        """Waits for a task to end, and returns its trial id and its result.

        Raises:
          GnexpError: the cluster is lost, or a node cannot run trials.
          InterruptedTrainingError: SIGINT or SIGTERM came; every trial is saved.
          OSError, UserError: what `trial.run` raised on one of the nodes; the other trials are saved.
        """
        while not self._received:
            try:
                self._hear()
                ended = self._ended()
            except RayError as error:
                raise ClusterLostError(first_line(error)) from error
            # A signal to all processes of a cluster also ends trials. Those are interrupted, not failed.
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
        """Waits a moment, and returns at most one of the tasks that have ended."""
        return ray.wait(list(self._tasks), num_returns=1, timeout=_SECONDS_TO_A_SIGNAL)[0]

    def _result(self, reference: ray.ObjectRef, task: Task) -> Done | Exception | None:
        """Returns a task's result, the error that stops the sweep, or None to have the task submitted again."""
        try:
            said = ray.get(reference)
        except TaskCancelledError:  # by a stray signal, and not by us
            return None
        except RayTaskError as error:
            last = last_line(error)
            hint = "; is gnexp installed there?" if "ImportError" in last or "ModuleNotFoundError" in last else ""
            return GnexpError(f"a node of the Ray cluster cannot run trials{hint} ({last})")
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            why = f"its process was lost {1 + _RETRIES} times, the last time: {first_line(error)}"
            return trial.fail(task, KilledError(why))
        except RayError as error:
            return ClusterLostError(first_line(error))
        # Whoever takes a node away also interrupts its trial, which then runs elsewhere.
        return None if isinstance(said, InterruptedTrainingError) else said

    def _hear(self) -> None:
        """Shows how far running trials are, and what the others wait for."""
        news = {}
        with contextlib.suppress(GetTimeoutError, RayActorError):  # The actor is slow or restarting.
            news = ray.get(self._progress.take.remote(), timeout=_SECONDS_TO_A_SIGNAL)
        now = time.monotonic()
        in_flight = {task.trial_id for task in self._tasks.values()}
        for trial_id in news.keys() & in_flight:
            self._heard[trial_id] = now
            self._waiting.pop(trial_id, None)
            for text in news[trial_id]:
                self._console.progress(trial_id, text)
                if text.startswith(node.STARTING) and trial_id in self._begun:
                    self._console.say(f"trial {trial_id}: its process was lost; another process is {text}")
                self._begun.add(trial_id)
        # A question to a lost head would make Ray end this process after a minute, without a message.
        if self._head.answers():
            self._say_what_trials_wait_for(now, in_flight)

    def _say_what_trials_wait_for(self, now: float, in_flight: set[str]) -> None:
        silent = max((now - self._heard[trial_id] for trial_id in in_flight), default=0.0)
        waiting = max((now - since for since in self._waiting.values()), default=0.0)
        what = ""
        if silent > _NO_NODE_SECONDS and not ray_cluster.a_node_has_room(self._config.sweep.resources):
            what = f"waiting for a node with {self._needed()}: the cluster has none now"
        elif waiting > _BUSY_SECONDS:
            there_are = in_words(ray.cluster_resources())
            what = f"waiting for {self._needed()}: not enough of the cluster's {there_are} are free"
        if what and what != self._said:
            self._console.say(what)
        self._said = what

    def _stop(self) -> OSError | UserError | None:
        """Has every trial saved, and returns the error if one could not be.

        A trial that ends meanwhile has its result in its folder, where the sweep finds it when it resumes.
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
            self._saved = SAVED_EPOCHS
        return errors[0] if errors else None

    def _last_words(self, reference: ray.ObjectRef) -> Done | Exception | None:
        """Returns the result of a task that was told to stop, or None if it had not started or was lost."""
        try:
            return ray.get(reference)
        except TaskCancelledError:
            return None
        except RayError:  # When Slurm ends a job, the cluster ends as well.
            self._saved = SAVED_EPOCHS
            return None

    def _needed(self) -> str:
        resources = self._config.sweep.resources
        return in_words({"CPU": resources.cpus, "GPU": resources.gpus})
