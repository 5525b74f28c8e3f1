"""The data of a training or a sweep, on record: what it began with, so that it does not go on with other data."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from gnexp.errors import UserError
from gnexp.workdir import files


class _Split(TypedDict):
    examples: int
    inputs: str
    targets: str
    classes: dict[str, int]
    digest: str


class _HeldOut(TypedDict):
    examples: int
    digest: str


class _Fingerprint(TypedDict):
    name: str
    labels: list[str]
    splits: dict[str, _Split]
    held_out: dict[str, _HeldOut]
    split_seed: int


def check(directory: pathlib.Path, fingerprint: Mapping[str, Any]) -> None:
    """Checks that data is that with which a workdir began.

    Args:
      directory: the workdir; one without a record, which an older gnexp began, may go on with any data.
      fingerprint: of the data that would be used now (`Splits.fingerprint`).

    Raises:
      UserError: it is not, naming what changed; or the record is damaged.
    """
    path = directory / files.DATA
    there = files.read_json(path)
    if there is None:
        return
    files.checked(path, there, _Fingerprint)
    if there != dict(fingerprint):
        found = list(_changes(there, fingerprint)) or ["it is split in another way"]
        raise UserError(
            f"the data is not that with which {directory} began: {', '.join(found)} ({path} has it on record). Restore "
            "it, or name another --workdir"
        )


def keep(directory: pathlib.Path, fingerprint: Mapping[str, Any]) -> None:
    """Records data in a workdir, which the caller has opened, unless it is there already."""
    path = directory / files.DATA
    if not path.exists():
        files.write_json(path, dict(fingerprint))


def _changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yields, in words, how two fingerprints differ."""
    if there["labels"] != here["labels"]:
        yield f"the labels were {there['labels']} and are {here['labels']}"
    before, now = there["splits"], here["splits"]
    for split in sorted({*before, *now}):
        if split not in before or split not in now:
            yield f"{split} {'is new' if split in now else 'is gone'}"
            continue
        old, new = before[split], now[split]
        counts = [
            f"{split} had {old['classes'].get(label, 0)} examples of {label!r} and has {new['classes'].get(label, 0)}"
            for label in sorted({*old["classes"], *new["classes"]})
            if old["classes"].get(label) != new["classes"].get(label)
        ]
        if len(counts) == 1:
            yield counts[0]
        elif old["examples"] != new["examples"]:
            yield f"{split} had {old['examples']} examples and has {new['examples']}"
        elif counts:
            yield f"{split} has other labels"
        for part in ("inputs", "targets"):
            if old[part] != new[part]:
                yield f"the {part} of {split} were {old[part]} and are {new[part]}"
        if old["examples"] == new["examples"] and old["digest"] != new["digest"] and not counts:
            yield f"the content of {split} has changed"
