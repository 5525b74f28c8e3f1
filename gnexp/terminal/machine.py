"""How much memory this process can have, and memory in words."""

import contextlib
import math
import os
import pathlib
import resource
from collections.abc import Iterator

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_CGROUPS, _OWN_CGROUPS = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")


def memory() -> int:
    """Returns how many bytes of memory this process can have at most: by the machine, its cgroup and its ulimit."""
    limits = [_machine(), *_of_cgroups()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min([*limits, soft] if soft != resource.RLIM_INFINITY else limits)


def _machine() -> int:
    with contextlib.suppress(OSError, ValueError, KeyError):  # There is no /proc on macOS.
        rows = (line.split() for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
        kilobytes = {row[0]: int(row[1]) for row in rows}
        return 1024 * (kilobytes["MemTotal:"] + kilobytes["SwapTotal:"])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_cgroups() -> Iterator[int]:
    """Yields the limits of this process's cgroup and of those above it, version 2 or 1; "max" is none."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            folder = _CGROUPS / controllers / path.lstrip("/")
            # In a container the path may be that of the host, so that only the root is there.
            for file in (above / name for above in (folder, *folder.parents) if above.is_relative_to(_CGROUPS)):
                with contextlib.suppress(OSError, ValueError):
                    yield int(file.read_text())


def size(count: float) -> str:
    """Returns a number of bytes in words."""
    power = min(int(math.log(max(count, 1), 1024)), len(_UNITS) - 1)
    return f"{count / 1024**power:.3g} {_UNITS[power]}"
