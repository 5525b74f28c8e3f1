"""The page of the tab "Sweeps" as one HTML file, which opens without a server and without a network."""

import gzip
import pathlib
import re
from typing import Any

from gnexp.board import as_json
from gnexp.board.board import Board
from gnexp.board.folders import SWEEP
from gnexp.board.plugin import plotly_script
from gnexp.errors import UserError
from gnexp.workdir import files

_STATIC = pathlib.Path(__file__).parent / "static"
_FILE = "report/index.html"
_START = "index.js"
_CURVES, _DETAILS, _FAILURES = 60, 300, 200  # of how many trials a page holds the curves and the details at most
_IMPORT = re.compile(r'^import (\{.*?\}) from "\./([\w.]+)";$', re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Sweeps</title>
<style>{style}</style>
</head>
<body>
<script type="application/json" id="gnexp-data">{data}</script>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def write(directory: pathlib.Path) -> pathlib.Path:
    """Writes the page of all sweeps and trainings in a folder, replacing an earlier one, and returns its path.

    Raises:
      UserError: there are none, or the page cannot be written.
    """
    board = Board(directory)
    if not board.folders.found():
        raise UserError(f"--workdir={directory} holds neither a sweep nor trainings")
    plotly = plotly_script()
    text = _PAGE.format(
        policy=_POLICY,
        style=(_STATIC / "style.css").read_text(encoding="utf-8"),
        # Nothing that a user wrote can end the element.
        data=as_json.text(gather(board)).replace("<", "\\u003c"),
        plotly="" if plotly is None else gzip.decompress(plotly).decode().replace("</script", "<\\/script"),
        script=bundle(),
    )
    path = directory / _FILE
    try:
        with files.atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return path


def gather(board: Board) -> dict[str, Any]:
    """Returns all answers that the page may need, by what is asked, name and argument."""
    listed = board.ask("list", "", "")
    while not listed["complete"]:
        listed = board.ask("list", "", "")
    # The page may be passed on, and its folder is nobody else's business.
    found: dict[str, Any] = {"list": {"": {"": {**listed, "root": board.folders.root.name}}}}

    def keep(route: str, name: str, argument: str = "") -> dict[str, Any]:
        answer = _answer(board, route, name, argument)
        found.setdefault(route, {}).setdefault(name, {})[argument] = answer
        return answer

    for entry in listed["entries"]:
        name = entry["name"]
        if entry["kind"] != SWEEP:
            keep("training", name)
            continue
        while not (sweep := keep("sweep", name)).get("complete", True):
            pass
        if "problem" in sweep:
            continue
        for route in ("answer", "importance", "timeline"):
            keep(route, name)
        chosen, failed = _chosen(sweep)
        for trial_id in chosen[:_DETAILS] + failed[:_FAILURES]:
            keep("trial", name, trial_id)
        for curve in _answer(board, "curves", name, ",".join(chosen[:_CURVES])).get("curves", []):
            found.setdefault("curves", {}).setdefault(name, {}).setdefault(curve["trial"], []).append(curve)
    return found


def _answer(board: Board, route: str, name: str, argument: str) -> dict[str, Any]:
    """Returns the answer to a question; a defect, or a damaged file, is no reason for the page to lack the others."""
    try:
        return board.ask(route, name, argument)
    except Exception as error:  # as in the tab
        return {"problem": f"{type(error).__name__}: {error}"}


def _chosen(sweep: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Returns the ids of the completed trials, the leading ones first, and of the others."""
    sign = -1 if sweep["direction"] == "max" else 1
    completed = sorted((row for row in sweep["trials"] if "mean" in row), key=lambda row: sign * row["mean"])
    ranked = dict.fromkeys([*sweep["leading"], *(row["id"] for row in completed)])
    return list(ranked), [row["id"] for row in sweep["trials"] if "mean" not in row]


def bundle() -> str:
    """Returns the page's modules as one script: a browser imports no module from a file beside a page."""
    parts, done = ["const modules = {};"], set()

    def add(name: str) -> None:
        if name in done:
            return
        done.add(name)
        text = (_STATIC / name).read_text(encoding="utf-8")
        for _, needed in _IMPORT.findall(text):
            add(needed)
        names = ", ".join(_EXPORT.findall(text))
        text = _IMPORT.sub(r'const \1 = modules["\2"];', text)
        text = re.sub(r"^export ", "", text, flags=re.MULTILINE)
        parts.append(f'modules["{name}"] = (() => {{\n{text}\nreturn {{ {names} }};\n}})();')

    add(_START)
    return "\n".join([*parts, f'modules["{_START}"].render();'])
