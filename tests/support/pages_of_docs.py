"""The pages of the documentation: their links, their Python, and their commands as a shell reads them."""

import pathlib
import re
import subprocess
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
_SINGLE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "launch/README.md", "benchmarks/README.md")
_SEVERAL = ("docs/*.md", "results/*/README.md")
PAGES = (
    *_SINGLE,
    "results/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for pattern in _SEVERAL for path in ROOT.glob(pattern)),
)

_FENCED = re.compile(r"^( *)```(.*?)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:KERAS_BACKEND=\w+ )?(?:python -m|make|tensorboard) [^`]+)`")
_END_OF_WORD, _END_OF_COMMAND = "\x1f", "\x1e"
# Every program is one that bash does not find, so that it is said instead of run; the restricted mode keeps the rest
# harmless: no other folder, no redirection into a file, no program by its path.
_SAY_INSTEAD = f"""
exec 3>&1 >/dev/null
function command_not_found_handle {{ printf '%s{_END_OF_WORD}' "$@" '{_END_OF_COMMAND}' >&3; }}
function . {{ command_not_found_handle . "$@"; }}
PATH=/nowhere
set -o nounset -o pipefail
set -r
"""


def blocks(page: str, tag: str) -> list[str]:
    """Returns the code blocks of a page that have a tag."""
    return [textwrap.dedent(text) for _, found, text in _FENCED.findall((ROOT / page).read_text()) if found == tag]


def prose(page: str) -> str:
    """Returns a page without its code blocks."""
    return _FENCED.sub("", (ROOT / page).read_text())


def links(page: str) -> list[str]:
    """Returns the targets of a page's links and pictures, those on the web left out."""
    return re.findall(r"\]\((?!https?:)(.*?)\)", prose(page))


def anchors(page: str) -> set[str]:
    """Returns the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def inline_commands(page: str) -> list[str]:
    """Returns the commands in a page's text and tables."""
    return _INLINE.findall(prose(page))


def commands(script: str) -> list[list[str]]:
    """Returns the words of each command that a shell would run, and runs none."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", _SAY_INSTEAD + script], capture_output=True, text=True, timeout=60
    )
    assert not done.stderr, f"bash says {done.stderr!r} of\n{script}"
    said = done.stdout.split(f"{_END_OF_COMMAND}{_END_OF_WORD}")[:-1]
    return [command.split(_END_OF_WORD)[:-1] for command in said]
