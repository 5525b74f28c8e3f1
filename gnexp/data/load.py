"""From a config's `data` section to the splits that a training uses: read, checked, and a part held out."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.data import checks, digests, holdout, memory, read
from gnexp.data.checks import Seen
from gnexp.data.rows import is_mapped
from gnexp.data.splits import Split, Splits, UnavailableError
from gnexp.errors import UserError
from gnexp.functions import load as functions
from gnexp.functions import signature
from gnexp.terminal import places

_ENDS_HELD_OUT = ("fashion_mnist", "digits")  # come shuffled, and have always been split so


def available(config: ConfigDict) -> tuple[str, str]:
    """Returns the name of the dataset to train on, and why it is not the one asked for ("" if it is).

    Downloads a dataset that is not on this machine.

    Args:
      config: a config's `data` section.

    Raises:
      UserError: a file is damaged, `config.directory` is no folder, or `config.name` is not available and
        `config.fallback` names no other dataset.
    """
    places.check_data(config.directory)
    try:
        if config.name in open_sections.SECTIONS["data"].built_in:
            module = importlib.import_module(open_sections.function("data", config.name).partition(":")[0])
            if check := getattr(module, "check", None):
                check(config.directory)
    except UnavailableError as error:
        if config.fallback in ("", config.name):
            raise
        return config.fallback, str(error)
    return config.name, ""


def load(config: ConfigDict) -> Splits:
    """Reads the dataset `config.name`, checks it, and holds out what it has no split for.

    Args:
      config: a config's `data` section. `validation` and `test` are fractions or counts of the training images;
        `validation` may be "test" for the test images themselves. They are held out by `split_seed` unless the dataset
        has such a split. Of the rest, `train_size` are trained on, or all if it is 0.

    Raises:
      FunctionError: the user's function fails.
      UserError: the dataset is not available, a file is damaged, the data is not as it must be, or there are too few
        images.
    """
    places.check_data(config.directory)
    found = read.call(config, _arguments(config))
    seed = -1 if config.name in _ENDS_HELD_OUT else config.split_seed
    parts = read.parts(found, config.name, memory.of(config))
    seen = {}
    for split, part in parts.items():
        seen[split], parts[split] = read.looked_at(part, read.where(config.name, split), found[split])
    for each in seen.values():
        checks.inputs(each)
    checks.alike(list(seen.values()))
    labels = checks.labels(list(seen.values()), found.get("labels", ()))
    rows = _held_out(config, parts, seed)
    splits = {
        split: parts[whole] if which is None else parts[whole].part(which) for split, (whole, which) in rows.items()
    }
    for name, split in splits.items():
        checks.weights(split, read.where(config.name, name))
    chosen, compared = (
        {split: getattr(seen[whole], of)[... if which is None else which] for split, (whole, which) in rows.items()}
        for of in ("digests", "compared")
    )
    if config.validation == "test":
        splits["validation"], compared = splits["test"], {name: compared[name] for name in ("train", "test")}
    return Splits(
        splits["train"],
        splits["validation"],
        splits["test"],
        labels,
        fingerprint=_fingerprint(seen, labels, chosen, config, seed),
        remarks=(
            *found.get("remarks", ()),
            *_remarks(found["train"], splits["train"], labels),
            *checks.perhaps_images(seen["train"]),
            *checks.overlaps(compared),
        ),
        strange=next((each.strange for each in seen.values() if each.strange is not None), None),
    )


def _remarks(given: Any, train: Split, labels: Sequence[str]) -> list[str]:
    """Returns what is to be said of the training examples: as the function returned them, and as they are used."""
    found = []
    inputs = given[0] if isinstance(given, tuple) else None
    if train.in_memory and not is_mapped(inputs) and len(train.inputs.shape) == 2:
        found += checks.narrowed(np.asarray(inputs))
    if isinstance(train.targets, np.ndarray) and train.targets.ndim == 1 and labels:
        found += checks.left_out(train.targets, labels)
    return found


def _arguments(config: ConfigDict) -> dict[str, Any]:
    """Returns what the dataset's function is called with; raises UserError if that does not fit its signature."""
    takes = signature.of_function(functions.load(open_sections.function("data", config.name)))
    args = config.args.to_dict() if "args" in config else {}
    given = open_sections.arguments_of("data", config.name, args, takes)
    return given | ({"data_directory": config.directory} if takes.get("data_directory") else {})


def _held_out(
    config: ConfigDict, parts: Mapping[str, Split], seed: int
) -> dict[str, tuple[str, slice | np.ndarray | None]]:
    """Returns for each split whose part it is, and which rows of that; None for all of them."""
    train = parts["train"]
    total = len(train)
    wanted = {
        split: config[split]
        for split in ("test", "validation")
        if split not in parts and not (split == "validation" and config.validation == "test")
    }
    counts = {split: _count(f"config.data.{split}", value, total, config.name) for split, value in wanted.items()}
    if sum(counts.values()) >= total:
        shown = " and ".join(f"config.data.{split}={config[split]}" for split in wanted)
        raise UserError(f"{shown} leave nothing to train on: there are {total} training images of {config.name}")
    targets = train.targets if isinstance(train.targets, np.ndarray) else None
    order = holdout.order(targets, total, seed)
    rows: dict[str, tuple[str, slice | np.ndarray | None]] = {split: (split, None) for split in parts}
    begin = 0
    for split, number in counts.items():
        rows[split] = "train", _together(order[begin : begin + number])
        begin += number
    left = total - begin
    size = config.train_size or left
    if size > left:
        raise UserError(
            f"config.data.train_size={size} is not allowed: there are {left} images of {config.name} to train on; 0 "
            "takes them all"
        )
    # The last images are held out from the end: those that are left begin with the first.
    kept = order[begin:][::-1][:size] if seed == -1 else order[begin : begin + size]
    rows["train"] = "train", (None if size == total else _together(kept))
    return rows


def _together(rows: np.ndarray) -> slice | np.ndarray:
    """Returns rows in ascending order; as a slice, which copies nothing, where they follow each other."""
    found = np.sort(rows)
    follow = int(found[-1]) - int(found[0]) + 1 == len(found)
    return slice(int(found[0]), int(found[-1]) + 1) if follow else found


def _count(key: str, value: float, total: int, name: str) -> int:
    held_out = value if isinstance(value, int) else round(value * total)
    if not 0 < held_out < total:
        raise UserError(
            f"{key}={value} is not allowed: of the {total} training images of {name}, at least one must be held out "
            "and at least one left"
        )
    return held_out


def _fingerprint(
    seen: Mapping[str, Seen], labels: Sequence[str], chosen: Mapping[str, np.ndarray], config: ConfigDict, seed: int
) -> dict[str, Any]:
    """Returns what tells the data from any other."""
    splits = {
        split: {
            "examples": each.shape[0],
            "inputs": f"{each.dtype}{list(each.shape[1:])}",
            "targets": f"{each.targets[1]}{list(each.targets[0][1:])}",
            "classes": {labels[number]: many for number, many in sorted(each.classes.items())} if each.labelled else {},
            "digest": f"{digests.of_all(each.digests)}-{each.content}",
        }
        for split, each in seen.items()
    }
    held_out = {
        split: {"examples": len(chosen[split]), "digest": digests.of_all(chosen[split])}
        for split in chosen
        if split not in seen
    }
    return {"name": config.name, "labels": list(labels), "splits": splits, "held_out": held_out, "split_seed": seed}
