"""TensorBoard and other servers of dashboards, in processes of their own, and what they answer."""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

PATIENCE = 900  # seconds
_ADDRESS = re.compile(r"http://(?:[\d.]+|localhost):\d+/")
_STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
# What a user would sort by. Plain keras-tuner leaves no curve of the best epoch so far, only the last epoch's figure.
METRICS = {
    "gnexp": {"group": "", "tag": "best_val_accuracy"},
    "keras-tuner": {"group": "validation", "tag": "epoch_accuracy"},
}


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Gives the address that a server says it has, as soon as it answers there, and its process."""
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            while not (address := _answering(pathlib.Path(said.name).read_text(errors="replace"))):
                if process.poll() is not None:
                    raise RuntimeError(f"{command} does not start: {pathlib.Path(said.name).read_text()}")
                time.sleep(0.01)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait()


def _answering(said: str) -> str:
    address = _ADDRESS.search(said)
    with contextlib.suppress(OSError):
        if address and _asked(urllib.request.Request(address[0])):
            return address[0]
    return ""


def tensorboard(logdir: pathlib.Path) -> contextlib.AbstractContextManager[tuple[str, int]]:
    """Gives the address and the process of a TensorBoard on `logdir`, which looks for more every second."""
    where = ["--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0", "--reload_interval", "1"]
    return started([sys.executable, "-m", "tensorboard.main", *where])


def get(address: str) -> tuple[float, bytes]:
    """Returns how many seconds a server takes to answer, and the answer."""
    return _asked(urllib.request.Request(address))


def ask(address: str, what: str, **body: Any) -> tuple[float, bytes]:
    """Returns how many seconds the HParams plugin takes to answer, and the answer."""
    content = json.dumps({"experimentName": "", **body}).encode()
    url, kind = f"{address}data/plugin/hparams/{what}", {"Content-Type": "application/json"}
    return _asked(urllib.request.Request(url, content, kind))


def _asked(request: urllib.request.Request) -> tuple[float, bytes]:
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        answer = response.read()
    return time.perf_counter() - began, answer


def groups(address: str, count: int, *columns: dict[str, Any]) -> tuple[float, bytes]:
    """Returns as `ask` the first session groups, sorted by the columns."""
    return ask(address, "session_groups", allowedStatuses=_STATUSES, colParams=columns, startIndex=0, sliceSize=count)


def wait_until_loaded(address: str, count: int, metric: dict[str, str], patience: float = PATIENCE) -> None:
    """Waits until the dashboard has all session groups with their metrics; raises RuntimeError when time runs out."""
    deadline = time.perf_counter() + patience
    while not _loaded(address, count, metric):
        if time.perf_counter() > deadline:
            raise RuntimeError(f"TensorBoard does not find the {count} session groups in {patience} seconds")
        time.sleep(0.05)


def check_loaded(address: str, count: int, metric: dict[str, str]) -> None:
    """Raises RuntimeError if a session group is gone."""
    if not _loaded(address, count, metric):
        raise RuntimeError(f"the {count} session groups do not stay")


def _loaded(address: str, count: int, metric: dict[str, str]) -> bool:
    # A session group without the metric would come first.
    answer = json.loads(groups(address, 1, {"metric": metric, "order": "ORDER_ASC", "missingValuesFirst": True})[1])
    if answer["totalSize"] != count:
        return False
    names = [value["name"] for value in answer["sessionGroups"][0].get("metricValues", [])]
    return any(name["tag"] == metric["tag"] and name.get("group", "") == metric["group"] for name in names)


def memory(process: int) -> float:
    """Returns how many MB of memory a process has."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
