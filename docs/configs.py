"""Writes the table of all keys into docs/configs.md, from `gnexp.config.schema`: `python -m docs.configs`."""

import pathlib
import re
from typing import Any

from configs import fmnist_sweep
from gnexp.config.defaults import fill_in
from gnexp.config.fields import Field
from gnexp.config.paths import flatten
from gnexp.config.schema import FIELDS

PAGE = pathlib.Path(__file__).with_suffix(".md")
_BEGIN, _END = "<!-- keys: begin -->", "<!-- keys: end -->"
_HEAD = """| key | allowed | default | what it does | can a sweep search it? |
| --- | --- | --- | --- | --- |
"""


def written(page: str) -> str:
    """Returns the page with the table as it should be."""
    begin, _, rest = page.partition(f"{_BEGIN}\n")
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{PAGE} must have the lines {_BEGIN} and {_END}")
    return f"{begin}{_BEGIN}\n{table()}{end}{after}"


def table() -> str:
    """Returns the table, a row for each key in the schema's order."""
    # The values of fmnist.py, and of a sweep those of fmnist_sweep.py, which starts from it.
    config = fmnist_sweep.get_config()
    fill_in(config)
    defaults = flatten(config)
    return _HEAD + "".join(_row(path, field, defaults.get(path, {})) for path, field in FIELDS.items())


def _row(path: str, field: Field, default: Any) -> str:
    # Words bear quotes in a message; an empty one needs them here, too.
    allowed = re.sub(r"'(\w*)'", lambda word: f"`{word[1] or word[0]}`", field.allowed.removeprefix("one of "))
    searched = "no: " + field.not_searched if field.not_searched else "yes"
    return f"| `{path}` | {allowed} | `{_as_flag(default)}` | {field.what} | {searched} |\n"


def _as_flag(value: Any) -> str:
    """Returns a value as a command line has it."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(_as_flag, value))
        case "":
            return "''"
        case {}:
            return "none"
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
