"""A real TensorBoard on loopback, so that tests can query what it shows."""

import json
import logging
import pathlib
import urllib.request
from typing import Any

from tensorboard import program

_ALL = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


class TensorBoard:
    """A server for a folder of runs, at `url`; it runs until the process ends."""

    def __init__(self, logdir: pathlib.Path):
        """Starts the server, which may take seconds to read everything."""
        server = program.TensorBoard()
        server.configure(argv=[None, f"--logdir={logdir}", "--port=0", "--host=127.0.0.1", "--reload_interval=1"])
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.url = server.launch()

    def get(self, path: str) -> Any:
        """Returns the response to a GET request below /data."""
        with urllib.request.urlopen(f"{self.url}data/{path}") as answer:
            return json.load(answer)

    def hparams(self, path: str, **body: Any) -> dict[str, Any]:
        """Returns the response to a POST request to the HParams plugin."""
        request = urllib.request.Request(
            f"{self.url}data/plugin/hparams/{path}",
            json.dumps({"experimentName": "", **body}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def groups(self, **body: Any) -> dict[str, dict[str, Any]]:
        """Returns the session groups, by name and in the order of the answer; by default all of them."""
        body = {"allowedStatuses": _ALL, "colParams": [], "startIndex": 0, "sliceSize": 100, **body}
        return {group["name"]: group for group in self.hparams("session_groups", **body)["sessionGroups"]}
