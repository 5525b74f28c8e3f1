"""Where a training comes from: source, versions, machine and command line."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any, NotRequired, TypedDict

from gnexp.functions import sources
from gnexp.workdir import files


class _Process(TypedDict):
    """What readers of a process's provenance rely on."""

    started: str
    command: NotRequired[list[str]]
    backend: NotRequired[str]


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the processes that a `provenance.json` holds, none if there is no such file.

    Raises:
      UserError: the file is damaged.
    """
    processes = files.read_json(path)
    if processes is None:
        return []
    files.checked(path, processes, list[_Process])
    return processes


BUILT_FROM = "built_from.json"  # in the wheel: what `_git` returned where it was built (setup.py)


def provenance() -> dict[str, Any]:
    """Returns the provenance of a training that starts now in this process, as values that JSON can hold."""
    packages = ("gnexp", "keras", "tensorflow", "jax", "numpy", "tensorboard", "ml-collections")
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.orig_argv,
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "git": _git(),
        "backend": backend(),
        "versions": versions,
    }


def backend() -> str:
    """Returns Keras's backend, also before Keras is imported, which takes seconds."""
    if keras := sys.modules.get("keras"):
        return keras.backend.backend()
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    settings = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(settings.read_text()).get("backend", "tensorflow")
    return "tensorflow"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git() -> dict[str, Any] | None:
    """Returns the commit of the running source, and whether tracked files differ from it; or what a wheel has of these.

    None if there is no commit.
    """
    here = pathlib.Path(__file__)
    try:
        # An installed copy may be inside another project's checkout, for example in a virtual environment.
        ours = ["git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name]
        subprocess.run(ours, capture_output=True, check=True)
        return sources.commit(here.parent)
    except (OSError, subprocess.CalledProcessError):
        built = pathlib.Path(__file__).parents[1] / BUILT_FROM
        return json.loads(built.read_text()) if built.exists() else None
