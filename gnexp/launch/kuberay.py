"""Trains or sweeps on Kubernetes: prints the manifest, or submits it.

  python -m gnexp.launch.kuberay --config=configs/fmnist.py --workdir=/shared/runs/fmnist --image=example.com/gnexp:1
    --claim=experiments --submit
  python -m gnexp.launch.kuberay --config=configs/fmnist_sweep.py --config.sweep.parallel=32
    --workdir=/shared/runs/sweep --image=example.com/gnexp:1 --claim=experiments --max_workers=8 --cpus=4

A sweep is a RayJob of the KubeRay operator, with as many pods as its running trials need; a single training is a Job,
and needs no operator. Either one resumes from its workdir when a pod is lost.
"""

import math
import pathlib
import re
import shlex
from typing import Any

import yaml
from absl import flags

from gnexp.config import beginning
from gnexp.errors import UserError
from gnexp.launch import launcher
from gnexp.launch.launcher import COUNT, COUNT_OR_NONE, Order

_SHARED = pathlib.PurePosixPath("/shared")
# KubeRay requires it with a token; tests/launch/launch_test.py compares it with the lock file.
RAY_VERSION = "2.60.0"
_RETRIES = 3
# A sweep sends settings and figures, for which 256 MiB are plenty.
_OBJECT_STORE = str(256 * 2**20)
# The head runs Ray and the sweep itself, but no trial.
_HEAD = {"cpu": "2", "memory": "4Gi"}

_NAME = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"


def _define() -> None:
    launcher.option(
        "image", None, (r"[^\s]+", "an image with gnexp and Ray"), "The image of the pods; see launch/README.md."
    )
    launcher.option("claim", None, (_NAME, "a persistent volume claim"), f"The claim at {_SHARED} in all pods.")
    launcher.option("max_workers", "4", COUNT, "The most pods of a sweep, not counting its head.")
    launcher.option("cpus", "4", COUNT, "The CPUs of each pod.")
    launcher.option("gpus", "0", COUNT_OR_NONE, "The GPUs of each pod.")
    launcher.option("memory", "8Gi", (r"[1-9]\d*[MGT]i", "a size such as 8Gi"), "The memory of each pod.")
    launcher.option("namespace", "", (f"({_NAME})?", "a namespace"), "The job's namespace; by default kubectl's own.")


def _manifest(order: Order) -> str:
    launcher.check_alone("max_workers", order)
    launcher.check_fits(order, "max_workers", "cpus", "gpus")
    try:
        beginning.check(order.config)
    except UserError as error:
        order.notes.append(f"{error}; the job is refused unless its workdir began with it")
    if order.workdir == _SHARED or not _is_shared(str(order.workdir)):
        raise UserError(
            f"--workdir={order.workdir} is not allowed: it must be below {_SHARED}, where the pods mount --claim"
        )
    if "GNEXP_DATA_DIR" in order.environment and not order.config.data.directory:
        order.notes.append(
            f"GNEXP_DATA_DIR is not passed on to the pods; set --config.data.directory to a folder below {_SHARED}"
        )
    _note_what_is_elsewhere(order)
    # Each submission gets a new name, because an earlier run of the sweep may still be there to look at.
    name = re.sub(r"[^a-z0-9]+", "-", order.workdir.name.lower()).strip("-")[:30]
    metadata = {"generateName": f"gnexp-{name}-" if name else "gnexp-"}
    if flags.FLAGS.namespace:
        metadata["namespace"] = flags.FLAGS.namespace
    api, kind, spec = _ray_job(order) if order.sweep else _job(order)
    manifest = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
    head = "# By `python -m gnexp.launch.kuberay`, for `kubectl create -f -`, which completes the name.\n"
    return head + yaml.safe_dump(manifest, sort_keys=False, width=math.inf)


def _is_shared(path: str) -> bool:
    return pathlib.PurePosixPath(path).is_relative_to(_SHARED) and ".." not in path.split("/")


def _note_what_is_elsewhere(order: Order) -> None:
    """Adds notes on the files that the pods may lack; a relative --config is the image's own."""
    typed = (re.fullmatch(r"--?config=([^:]*).*", argument, re.DOTALL) for argument in order.command)
    read = [("--config", found[1]) for found in typed if found and found[1].startswith("/")]
    if order.config.data.directory:
        read.append(("config.data.directory", order.config.data.directory))
    for name, path in read:
        if not _is_shared(path):
            order.notes.append(f"{name}={path} is not below {_SHARED}: the pods have it only if the image does")


def _ray_job(order: Order) -> tuple[str, str, dict[str, Any]]:
    workers = {
        "groupName": "trials",
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": int(flags.FLAGS.max_workers),
        "rayStartParams": {"object-store-memory": _OBJECT_STORE},
        "template": {"spec": _pod(order, "ray-worker", _size())},
    }
    head = {
        "rayStartParams": {"num-cpus": "0", "object-store-memory": _OBJECT_STORE},
        "template": {"spec": _pod(order, "ray-head", _HEAD)},
    }
    spec = {
        "entrypoint": shlex.join([*order.command, "--ray_address=auto"]),
        # The other mode sends the command through a second shell, which would interpret brackets and quotes.
        "submissionMode": "HTTPMode",
        "backoffLimit": _RETRIES,
        "shutdownAfterJobFinishes": True,
        # The head keeps the last output of the sweep.
        "ttlSecondsAfterFinished": 600,
        "rayClusterSpec": {
            "rayVersion": RAY_VERSION,
            "authOptions": {"mode": "token"},
            "enableInTreeAutoscaling": True,
            "headGroupSpec": head,
            "workerGroupSpecs": [workers],
        },
    }
    return "ray.io/v1", "RayJob", spec


def _job(order: Order) -> tuple[str, str, dict[str, Any]]:
    pod = _pod(order, "training", _size())
    # Otherwise Kubernetes would put a variable's value in the place of $(VARIABLE).
    pod["containers"][0]["command"] = [argument.replace("$", "$$") for argument in order.command]
    pod["restartPolicy"] = "Never"
    spec = {
        "backoffLimit": _RETRIES,
        "podFailurePolicy": {
            "rules": [
                # A pod that is taken away uses up no retry.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                # 1 is a training that failed and 2 a mistake: another pod fixes neither.
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}},
            ]
        },
        "template": {"spec": pod},
    }
    return "batch/v1", "Job", spec


def _size() -> dict[str, str]:
    """Returns the resources of a pod that trains."""
    size = {"cpu": flags.FLAGS.cpus, "memory": flags.FLAGS.memory}
    return size if flags.FLAGS.gpus == "0" else {**size, "nvidia.com/gpu": flags.FLAGS.gpus}


def _pod(order: Order, name: str, size: dict[str, str]) -> dict[str, Any]:
    # Of the command's environment only the backend: the pods do not have this machine's folders.
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "KERAS_BACKEND": order.environment.get("KERAS_BACKEND", "tensorflow"),
    }
    container = {
        "name": name,
        "image": flags.FLAGS.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": dict(size), "limits": dict(size)},
        "volumeMounts": [{"name": "shared", "mountPath": str(_SHARED)}],
    }
    claim = {"name": "shared", "persistentVolumeClaim": {"claimName": flags.FLAGS.claim}}
    return {"containers": [container], "volumes": [claim]}


def _watch(said: str) -> str:
    created = re.match(r"\S+", said)
    namespace = f" --namespace={flags.FLAGS.namespace}" if flags.FLAGS.namespace else ""
    return f"kubectl get {created[0] if created else 'rayjob,job'} --watch{namespace}"


def main() -> None:
    """Runs the command line; see the module's docstring."""
    launcher.launch(_define, _manifest, ["kubectl", "create", "-f", "-"], _watch)


if __name__ == "__main__":
    main()
