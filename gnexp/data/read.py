"""Calls a dataset's function, and turns what it returns into arrays, or into columns that are read while training."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.data import digests, stream
from gnexp.data.checks import Seen
from gnexp.data.columns import INPUTS, TARGETS, WEIGHTS, Column, example
from gnexp.data.forms import as_array, as_inputs, as_targets, as_weights
from gnexp.data.readers import Processes
from gnexp.data.rows import Arrays, is_mapped
from gnexp.data.splits import Split
from gnexp.errors import UserError
from gnexp.functions.load import load, users_code

SPLITS = ("train", "validation", "test")
_OTHERS = ("labels", "remarks")
_MUST = "it must return a mapping with `train`, perhaps `validation` and `test`, each a pair (inputs, targets)"
_SMALL = 256  # bytes of an example's targets that are kept in memory, whatever the number of examples
_FEW = 1 << 16  # classes


def where(name: str, split: str) -> str:
    """Returns how messages name a split of the dataset with a name."""
    return f"config.data.name={name!r}: {split}"


def call(config: ConfigDict, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Calls the function of a config's `data` section, and returns the mapping that it returns.

    Raises:
      FunctionError: it fails; with the first cause, its file and its line.
      UserError: it returns something else.
    """
    key = f"config.data.name={config.name!r}"
    function = load(open_sections.function("data", config.name))
    with users_code(f"{key} cannot be read"):
        found = function(**arguments)
    if not isinstance(found, Mapping):
        raise UserError(f"{key} returned {_kind(found)}: {_MUST}")
    if unknown := [name for name in found if name not in (*SPLITS, *_OTHERS)]:
        raise UserError(f"{key} returned the key {unknown[0]!r}: {_MUST}, and perhaps `labels`")
    present = {name: value for name, value in found.items() if value is not None}
    if "train" not in present:
        raise UserError(f"{key} returned {', '.join(present) or 'an empty mapping'}, and no `train`: {_MUST}")
    for name, what in (("labels", "the names of the classes, such as ('cat', 'dog')"), ("remarks", "lines of text")):
        present[name] = _texts(f"{key} returned {name}", present.get(name, ()), what)
    if len(set(present["labels"])) != len(present["labels"]):
        raise UserError(f"{key} returned labels={list(present['labels'])!r}: each name must be there once")
    return present


def _texts(key: str, value: Any, what: str) -> tuple[str, ...]:
    # An array of text is what scikit-learn has; a set has no order.
    texts = tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else (None,)
    if not all(isinstance(each, str) for each in texts):
        raise UserError(f"{key}={value!r}: it must be {what}, as a list")
    return tuple(map(str, texts))


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def parts(found: Mapping[str, Any], name: str, memory: int) -> dict[str, Split]:
    """Returns the splits of a dataset as arrays, or what of them does not fit as columns.

    Args:
      found: what `call` returned.
      name: the dataset's name.
      memory: how many bytes all splits may take together.

    Raises:
      UserError: a split is no pair of arrays and no random-access source, or has no examples.
    """
    lazy = {split: _split(found[split], where(name, split)) for split in SPLITS if split in found}
    fits = sum(each.inputs.nbytes + each.targets.nbytes for each in lazy.values()) <= memory
    if fits:
        return {split: _in_memory(each) for split, each in lazy.items()}
    readers = Processes([each.inputs.source for each in lazy.values() if not each.in_memory])
    return {
        split: each if each.in_memory else dataclasses.replace(each, readers=readers) for split, each in lazy.items()
    }


def _split(value: Any, name: str) -> Split:
    """Returns what a function returned for a split; what is not in memory yet as columns."""
    if isinstance(value, tuple):
        value = _arrays(value, name)
        if not any(map(is_mapped, value.arrays)):
            forms = zip((as_inputs, as_targets, as_weights), value.arrays, strict=False)
            return Split(*(form(array, name) for form, array in forms))
    if not hasattr(value, "__len__") or not hasattr(value, "__getitem__") or isinstance(value, (np.ndarray, Mapping)):
        hint = "; of a tf.data.Dataset or a generator, return the arrays" if hasattr(value, "__iter__") else ""
        raise UserError(
            f"{name} is {_kind(value)}: it must be a tuple (inputs, targets) of arrays, or have __len__ and __getitem__"
            f"{hint}"
        )
    with users_code(f"{name} cannot be read"):
        length, known = len(value), getattr(value, "targets", None)
    if not length:
        raise UserError(f"{name} has no examples")
    weighted = len(example(value, 0, name)) > WEIGHTS
    targets = Column(value, TARGETS, name) if known is None else as_targets(known, name)
    if len(targets) != length:
        raise UserError(f"{name} has {length} examples and {len(targets)} `targets`: there must be as many of each")
    return Split(Column(value, INPUTS, name), targets, Column(value, WEIGHTS, name) if weighted else None)


def _arrays(values: tuple, name: str) -> Arrays:
    if len(values) not in (2, 3):
        raise UserError(
            f"{name} is a tuple of {len(values)}: it must be (inputs, targets), or (inputs, targets, weights)"
        )
    words = ("inputs", "targets", "sample weights")
    arrays = [
        each if isinstance(each, np.ndarray) else as_array(each, f"{name}: its {word}")  # `asarray` would unmap it
        for each, word in zip(values, words, strict=False)
    ]
    counts = [len(array) if array.ndim else 0 for array in arrays]
    if len(set(counts)) > 1:
        shown = ", ".join(f"{number} {word}" for number, word in zip(counts, words, strict=False))
        raise UserError(f"{name} has {shown}: there must be as many of each")
    if not counts[0] or not arrays[0].size:
        raise UserError(f"{name} has no examples" if not counts[0] else f"{name} has inputs without a single number")
    # Only the inputs, and targets such as masks, may be too large for memory.
    return Arrays([arrays[0], *(each if each[:1].nbytes > _SMALL else np.array(each) for each in arrays[1:])])


def _in_memory(split: Split) -> Split:
    """Returns a split as arrays."""
    if split.in_memory:
        return split
    if isinstance(split.inputs.source, Arrays):
        arrays = (np.array(each) for each in split.inputs.source.arrays)
        forms = zip((as_inputs, as_targets, as_weights), arrays, strict=False)
        return Split(*(form(array, split.inputs.where) for form, array in forms))
    whole = Split(*(None if each is None else np.empty(each.shape, each.dtype) for each in stream.parts(split)))
    begin = 0
    for some in stream.in_order(split, stream.chunk(split)):
        rows = slice(begin, begin + len(some))
        for into, each in zip(stream.parts(whole), stream.parts(some), strict=True):
            if into is not None:
                into[rows] = each
        begin = rows.stop
    return whole


def looked_at(split: Split, name: str, given: Any) -> tuple[Seen, Split]:
    """Looks at every example of a split once.

    Args:
      split: the split.
      name: its name in messages.
      given: what the function returned for it. If it has `digests`, as `images.Images` does, it has looked at each
        example itself.

    Returns:
      What is known of it now; and the split, in which small targets and the weights are in memory.
    """
    known = getattr(given, "digests", None)
    look = _Look(split, looks=known is None or split.in_memory)
    if known is not None:
        look.digests = [known]
        # A mask is part of its image's digest.
        content = "" if given.targets is None else digests.of_all(given.targets)
        look.classes = look.classes or collections.Counter(_counted(given.targets) if content else given.classes)
    else:
        content = digests.of_all(*look.contents)
    seen = Seen(
        where=name,
        shape=split.inputs.shape,
        dtype=split.inputs.dtype,
        low=look.low,
        high=look.high,
        infinite=look.infinite,
        targets=(split.targets.shape, split.targets.dtype),
        strange=look.strange,
        classes=look.classes,
        digests=np.concatenate(look.digests),
        compared=getattr(given, "compared", known) if known is not None else np.concatenate(look.digests),
        content=content,
    )
    return seen, dataclasses.replace(split, **look.gathered())


class _Look:
    """What is known of the examples of a split after all, or none, have been read once."""

    def __init__(self, split: Split, looks: bool):
        self.low: float | None = None
        self.high: float | None = None
        self.infinite: int | None = None
        self.strange: float | None = None
        self.classes: collections.Counter[int] = collections.Counter()
        self.digests: list[np.ndarray] = []
        self.contents: list[np.ndarray] = []
        self._split = split
        self._kept: list[list[np.ndarray]] = [[], []]
        self._small = [
            isinstance(each, Column) and each[:1].nbytes <= _SMALL for each in (split.targets, split.weights)
        ]
        begin = 0
        for some in stream.in_order(split, stream.chunk(split)) if looks else ():
            self._add(some, begin)
            begin += len(some)

    def _add(self, some: Split, begin: int) -> None:
        self.low = min(value for value in (self.low, some.inputs.min().item()) if value is not None)
        self.high = max(value for value in (self.high, some.inputs.max().item()) if value is not None)
        for array in (some.inputs, some.targets):
            if self.infinite is None and array.dtype.kind == "f" and not np.isfinite(array).all():
                rows = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
                self.infinite = begin + int(rows.argmax())
        if some.targets.ndim == 2 and self.strange is None:
            self.strange = next(iter(some.targets[(some.targets != 0) & (some.targets != 1)].tolist()), None)
        if some.targets.dtype.kind == "i":
            self.classes.update(_counted(some.targets))
        self.digests.append(digests.of_rows(some.inputs))
        self.contents += [digests.of_rows(each) for each in (some.targets, some.weights) if each is not None]
        for kept, small, each in zip(self._kept, self._small, (some.targets, some.weights), strict=True):
            if small:
                kept.append(each)

    def gathered(self) -> dict[str, np.ndarray]:
        """Returns targets and weights that are small, as arrays."""
        return {
            name: np.concatenate(kept) for name, kept in zip(("targets", "weights"), self._kept, strict=True) if kept
        }


def _counted(targets: np.ndarray) -> dict[int, int]:
    """Returns how often each whole number is there."""
    if targets.size and targets.min() >= 0 and targets.max() < _FEW:
        counts = np.bincount(targets.ravel())
        return {number: int(many) for number, many in enumerate(counts) if many}
    numbers, counts = np.unique(targets, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))
