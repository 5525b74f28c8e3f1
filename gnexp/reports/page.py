"""A page of sections: README.md, in Markdown, and a PNG file for each picture."""

import dataclasses
import io
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from gnexp.events import summaries
from gnexp.events.event_files import EventFiles
from gnexp.workdir import files

_FOLDER = "report"
_PAGE = "README.md"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: its picture, if it has one, comes before its paragraphs."""

    heading: str
    paragraphs: Sequence[str]
    picture: str = ""
    figure: Figure | None = None


def write(directory: pathlib.Path, introduction: str, sections: Sequence[Section], board: bool) -> pathlib.Path:
    """Writes the page of a workdir, replacing an earlier one, and returns its path.

    Args:
      directory: the workdir.
      introduction: the page's beginning, its title included.
      sections: what follows.
      board: whether TensorBoard is to show the pictures too, as the workdir's run "report".
    """
    folder = directory / _FOLDER
    folder.mkdir(exist_ok=True)
    # Two reports at once would remove each other's pictures.
    with files.alone(folder):
        _write(folder, introduction, sections, board)
    return folder / _PAGE


def _write(folder: pathlib.Path, introduction: str, sections: Sequence[Section], board: bool) -> None:
    for old in [*folder.glob("events.out.tfevents.*"), *folder.glob("*.png"), *folder.glob(".*.partial.*")]:
        old.unlink()
    events = EventFiles(folder)
    blocks = [introduction]
    for section in sections:
        blocks.append(f"## {section.heading}")
        if section.figure:
            buffer = io.BytesIO()
            section.figure.savefig(buffer, format="png")
            with files.atomic(folder / f"{section.picture}.png") as temporary:
                temporary.write_bytes(buffer.getvalue())
            if board:
                size = section.figure.canvas.get_width_height()
                events.add("", summaries.image(section.picture, buffer.getvalue(), *size))
            blocks.append(f"![{section.heading}]({section.picture}.png)")
        blocks += section.paragraphs
    events.write()
    with files.atomic(folder / _PAGE) as temporary:
        temporary.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


class _Code(str):
    """Text that is Markdown already."""


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> str:
    """Returns a table in Markdown; text in its cells is no markup, except for what `code` has made."""
    plain = [[cell if isinstance(cell, _Code) else _plain(str(cell)) for cell in row] for row in rows]
    return tabulate(plain, headers, tablefmt="github", disable_numparse=True)


def _plain(text: str) -> str:
    return re.sub(r"([|<*`\\])", r"\\\1", text.replace("\n", " "))


def remarks(directories: Iterable[pathlib.Path]) -> str:
    """Returns what trainings or a sweep said before their first step, as a paragraph; empty if that was nothing."""
    said: dict[str, list[str]] = {}
    for directory in directories:
        for line in files.read_lines(directory / files.REMARKS):
            said.setdefault(line, []).append(directory.resolve().name)
    return "".join(f"\n\n**Note** ({', '.join(names)}): {line}." for line, names in said.items())


def code(text: str) -> str:
    """Returns text for a cell of a Markdown table, with Markdown's special characters escaped."""
    return _Code("`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`")
