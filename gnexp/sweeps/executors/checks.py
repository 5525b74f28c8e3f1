"""Checks at once whether a sweep's executor can run. Ray would say so after a minute, or never."""

import importlib.util
import os
import socket

from ml_collections import ConfigDict

from gnexp.errors import UserError


def check(config: ConfigDict, address: str | None) -> None:
    """Checks the settings of the executor in a config and in --ray_address.

    Args:
      config: of a training or a sweep.
      address: of a Ray cluster, or None.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    sweep = config.get("sweep")
    if sweep and sweep.executor == "serial" and sweep.parallel > 1:
        raise UserError(
            f"config.sweep.parallel={sweep.parallel} is not allowed with config.sweep.executor='serial', which "
            "runs one trial at a time: add --config.sweep.executor=processes, or ray"
        )
    if sweep and sweep.executor == "ray":
        _check_machine(config, address)
    elif address is not None:
        raise UserError(f"--ray_address={address} is for a sweep with --config.sweep.executor=ray")
    if address not in (None, "auto"):
        _check_address(address)


def _check_machine(config: ConfigDict, address: str | None) -> None:
    if not importlib.util.find_spec("ray"):
        raise UserError("config.sweep.executor='ray' needs Ray, which is not installed: pip install 'gnexp[ray]'")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if address is None and config.sweep.resources.cpus > cpus:
        raise UserError(
            f"config.sweep.resources.cpus={config.sweep.resources.cpus} is not allowed: this machine has {cpus}; "
            "--ray_address=HOST:PORT names a cluster"
        )
    gpus = config.sweep.resources.gpus
    if address is None and gpus:
        from gnexp.sweeps.executors import ray_cluster  # Imports Ray, for a second.

        if gpus > (there_are := ray_cluster.gpus_here()):
            raise UserError(
                f"config.sweep.resources.gpus={gpus:g} is not allowed: this machine has {there_are}; "
                "--ray_address=HOST:PORT names a cluster"
            )


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 2**16:
        raise UserError(f"--ray_address={address} is not allowed: it must be HOST:PORT, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError as error:
        raise UserError(f"--ray_address={address}: no Ray cluster answers there ({error.strerror or error})") from error
