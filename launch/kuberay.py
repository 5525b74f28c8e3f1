"""Trains or sweeps on Kubernetes: prints the manifest, or submits it.

  python -m launch.kuberay --config=configs/fmnist_sweep.py --config.sweep.parallel=32 --workdir=/shared/runs/sweep
    --image=example.com/gnexp:1 --claim=experiments --max_workers=8 --cpus=4

A sweep is a RayJob of the KubeRay operator, with as many pods as it has trials for at the time; a single training is a
Job, and needs no operator. Either goes on from its workdir when a pod is lost.
"""

import math
import pathlib
import re
import shlex
from typing import Any

import yaml
from absl import flags

from gnexp.errors import UserError
from launch import launcher
from launch.launcher import COUNT, COUNT_OR_NONE, Order

_SHARED = pathlib.PurePosixPath("/shared")
# KubeRay asks for it where there is a token; tests/launch_test.py holds it to the lock file.
RAY_VERSION = "2.60.0"
_RETRIES = 3
# A sweep sends settings and figures, for which 256 MiB are plenty.
_OBJECT_STORE = str(256 * 2**20)
# Ray and the sweep itself; no trial runs in the head.
_HEAD = {"cpu": "2", "memory": "4Gi"}

_NAME = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"


def _define() -> None:
    launcher.option(
        "image", None, (r"[^\s]+", "an image with gnexp and Ray"), "What the pods run; see launch/README.md."
    )
    launcher.option("claim", None, (_NAME, "a persistent volume claim"), f"What is mounted at {_SHARED} in all pods.")
    launcher.option("max_workers", "4", COUNT, "The most pods of a sweep, without its head.")
    launcher.option("cpus", "4", COUNT, "Of each pod.")
    launcher.option("gpus", "0", COUNT_OR_NONE, "Of each pod.")
    launcher.option("memory", "8Gi", (r"[1-9]\d*[MGT]i", "a size such as 8Gi"), "Of each pod.")
    launcher.option("namespace", "", (f"({_NAME})?", "a namespace"), "Where it goes; by default kubectl's own.")


def _manifest(order: Order) -> str:
    launcher.check_alone("max_workers", order)
    launcher.check_fits(order, "max_workers", "cpus", "gpus")
    if _SHARED not in order.workdir.parents or ".." in order.workdir.parts:
        raise UserError(
            f"--workdir={order.workdir} is not allowed: it must lie below {_SHARED}, where the pods have --claim"
        )
    if "GNEXP_DATA_DIR" in order.environment and not order.config.data.directory:
        order.notes.append(
            f"GNEXP_DATA_DIR stays here; for the pods, --config.data.directory names a folder below {_SHARED}"
        )
    # Every time another name: the former run of a sweep may still be there to be looked at.
    name = re.sub(r"[^a-z0-9]+", "-", order.workdir.name.lower()).strip("-")[:30]
    metadata = {"generateName": f"gnexp-{name}-" if name else "gnexp-"}
    if flags.FLAGS.namespace:
        metadata["namespace"] = flags.FLAGS.namespace
    api, kind, spec = _ray_job(order) if order.sweep else _job(order)
    manifest = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
    head = "# By `python -m launch.kuberay`, for `kubectl create -f -`, which completes the name.\n"
    return head + yaml.safe_dump(manifest, sort_keys=False, width=math.inf)


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
        # The other mode sends the command through a second shell, which takes brackets and quotes for its own.
        "submissionMode": "HTTPMode",
        "backoffLimit": _RETRIES,
        "shutdownAfterJobFinishes": True,
        # The sweep's last words are in the head.
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
    pod["containers"][0]["command"] = order.command
    pod["restartPolicy"] = "Never"
    spec = {
        "backoffLimit": _RETRIES,
        "podFailurePolicy": {
            "rules": [
                # A pod that is taken away uses up no retry.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                # 1 is a training that failed and 2 a mistake: neither is mended by another pod.
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}},
            ]
        },
        "template": {"spec": pod},
    }
    return "batch/v1", "Job", spec


def _size() -> dict[str, str]:
    """Returns what a pod in which something is trained may use."""
    size = {"cpu": flags.FLAGS.cpus, "memory": flags.FLAGS.memory}
    return size if flags.FLAGS.gpus == "0" else {**size, "nvidia.com/gpu": flags.FLAGS.gpus}


def _pod(order: Order, name: str, size: dict[str, str]) -> dict[str, Any]:
    # The backend alone of what belongs to the command: this machine's folders are none of the pods'.
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
