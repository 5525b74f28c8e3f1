"""The entry point of TensorBoard's tab "Sweeps".

TensorBoard imports this module when it starts, and does not start if the import fails. So only TensorBoard's own
packages are imported here, and what imports nothing; whatever else goes wrong is said in the tab.
"""

import contextlib
import functools
import gzip
import pathlib
import threading
from typing import Any

from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from gnexp.board import as_json

_STATIC = pathlib.Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css"}  # `mimetypes` depends on the machine.
_PLOTLY = "plotly.js"
_DAY = 86_400
ROUTES = ("list", "sweep", "answer", "importance", "timeline", "curves", "trial", "training")


class SweepsPlugin(base_plugin.TBPlugin):
    """Shows the sweeps and trainings under TensorBoard's logdir. It never writes.

    Args:
      context: TensorBoard's, of which only `logdir` is used.
    """

    plugin_name = "sweeps"

    def __init__(self, context: base_plugin.TBContext):
        self._logdir = context.logdir
        self._warm: threading.Thread | None = None
        self._opening = threading.Lock()
        self._board: Any = None

    def get_plugin_apps(self) -> dict[str, Any]:
        """Returns the handlers: a file's name, or a question to the board. No part of a path comes from a request."""
        static = {f"/static/{path.name}": functools.partial(_file, path) for path in _STATIC.glob("*.*")}
        static[f"/static/{_PLOTLY}"] = _plotly
        apps = static | {f"/{route}": functools.partial(self._answer, route) for route in ROUTES}
        return {route: wrappers.Request.application(app) for route, app in apps.items()}

    def is_active(self) -> bool:
        """Returns True without looking: this is asked often. The board is opened meanwhile, as a page was asked for."""
        if self._warm is None:
            self._warm = threading.Thread(target=self._warm_up, daemon=True)
            self._warm.start()
        return True

    def _warm_up(self) -> None:
        with contextlib.suppress(Exception):  # The first answer says what is wrong.
            self._open().ask("list", "", "")

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Returns where the page starts. It refreshes itself, so that TensorBoard's reload is not needed."""
        return base_plugin.FrontendMetadata(
            es_module_path="/static/index.js", tab_name="Sweeps", disable_reload=True, remove_dom=False
        )

    def _open(self) -> Any:
        """Returns the board; its imports take a second."""
        with self._opening:
            if self._board is None:
                from gnexp.board.board import Board

                self._board = Board(pathlib.Path(self._logdir).expanduser() if self._logdir else None)
            return self._board

    def _answer(self, route: str, request: wrappers.Request) -> wrappers.Response:
        try:
            found = self._open().ask(route, request.args.get("name", ""), request.args.get("arg", ""))
            code = 200
        except LookupError as error:
            found, code = {"problem": str(error.args[0] if error.args else error)}, 404
        except Exception as error:  # A defect here, or a damaged file, is no reason for TensorBoard to show nothing.
            found, code = {"problem": f"{type(error).__name__}: {error}"}, 200
        return http_util.Respond(request, as_json.text(found), "application/json", code=code)


def _file(path: pathlib.Path, request: wrappers.Request) -> wrappers.Response:
    return http_util.Respond(request, path.read_bytes(), _TYPES[path.suffix])


def _plotly(request: wrappers.Request) -> wrappers.Response:
    if (script := plotly_script()) is None:
        return http_util.Respond(request, "// Plotly is not installed.", "text/javascript")
    return http_util.Respond(request, script, "text/javascript", content_encoding="gzip", expires=_DAY)


@functools.cache
def plotly_script() -> bytes | None:
    """Returns Plotly's script from its Python package, compressed, or None if that is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return None
    return gzip.compress(get_plotlyjs().encode(), 5, mtime=0)
