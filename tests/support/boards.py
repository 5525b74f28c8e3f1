"""A real TensorBoard on loopback, and a browser, so that tests can query what it shows."""

import json
import logging
import pathlib
import shutil
import urllib.request
from collections.abc import Sequence
from typing import Any

import pytest
from tensorboard import program

_ALL = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


class TensorBoard:
    """A server for a folder of runs, at `url`; it runs until the process ends."""

    def __init__(self, logdir: pathlib.Path, plugins: Sequence[Any] | None = None, *flags: str):
        """Starts the server, which may take seconds to read everything; by default with all plugins."""
        server = program.TensorBoard(plugins)
        argv = [None, f"--logdir={logdir}", "--port=0", "--host=127.0.0.1", "--reload_interval=1", *flags]
        server.configure(argv=argv)
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


def chromium(width: int = 1600, height: int = 900, *arguments: str, **preferences: Any) -> Any:
    """Returns headless Chromium as selenium drives it; skips the test where either is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, which `make test` installs")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    usual = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    for argument in (*usual, f"--window-size={width},{height}", *arguments):
        options.add_argument(argument)
    options.add_experimental_option("prefs", preferences)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
