"""Checks of a dataset before the first step: each mistake is one line that names the split, and what must be."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from gnexp.data.splits import Split
from gnexp.errors import UserError
from gnexp.terminal.words import count

_MOST_SHOWN = 5
_PREDICTED = "return floats if they are to be predicted, as by a regression"
_FEWEST_STEPS = 1000  # of float32, between the least and the greatest number of a column
_IMAGES = 4  # axes of images: examples, height, width, channels
_SMALLEST_IMAGE = 8  # pixels of a side, of what is taken for one
_COLORS, _MOST_CHANNELS = 3, 4


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is known of a split's examples once all have been looked at.

    Attributes:
      where: its name in messages.
      shape, dtype: of the inputs.
      low, high: the least and the greatest of the inputs; None where they were not looked at.
      infinite: the index of the first example that holds NaN or infinity, in its inputs or targets; None if none does.
      targets: the shape and the dtype of the targets.
      strange: where an example has several targets, one that is neither 0 nor 1; None if there is none.
      classes: where targets are whole numbers, how many there are of each, by the number.
      digests: uint64 array, one for the inputs of each example, or for an image and its mask.
      compared: uint64 array, one for the inputs of each example alone.
      content: one digest of all targets and weights.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype
    low: float | None
    high: float | None
    infinite: int | None
    targets: tuple[tuple[int, ...], np.dtype]
    strange: float | None
    classes: Mapping[int, int]
    digests: np.ndarray
    compared: np.ndarray
    content: str

    @property
    def labelled(self) -> bool:
        """Whether each example has a class of its own."""
        return len(self.targets[0]) == 1 and self.targets[1].kind == "i"

    @property
    def masked(self) -> bool:
        """Whether each pixel of an example has a class of its own."""
        return len(self.targets[0]) > 2 and self.targets[1].kind == "i"


def inputs(seen: Seen) -> None:
    """Checks the values of a split's inputs; raises UserError."""
    if seen.infinite is not None:
        raise UserError(f"{seen.where}: example {seen.infinite} holds NaN or infinity: it must hold numbers")
    if len(seen.shape) != _IMAGES:
        return
    channels, height, width = seen.shape[1:]
    if width > _MOST_CHANNELS and (channels == _COLORS or (channels == 1 and height == width)):
        raise UserError(
            f"{seen.where}: its images have the shape {tuple(seen.shape[1:])}, channels first: they must come last, "
            f"{height, width, channels}; np.moveaxis(images, 1, -1) brings them there"
        )
    if seen.low is None:
        return
    if seen.dtype == np.uint8 and 0 < seen.high <= 1:
        raise UserError(
            f"{seen.where}: its images are uint8, and no value is above 1: floats from 0 to 1 were taken for uint8; "
            "return them as float32, or times 255"
        )
    if seen.dtype != np.uint8 and not 0 <= seen.low <= seen.high <= 1:
        cure = (
            "return uint8, or divide by 255" if seen.low >= 0 and 2 < seen.high <= 255 else "bring them to that range"
        )
        raise UserError(
            f"{seen.where}: its images are floats from {seen.low:.6g} to {seen.high:.6g}: they must be from 0 to 1; "
            f"{cure}"
        )


def perhaps_images(seen: Seen) -> list[str]:
    """Returns a line if inputs without channels have the range of images that were not divided by 255."""
    if len(seen.shape) != _IMAGES - 1 or min(seen.shape[1:]) < _SMALLEST_IMAGE or seen.low is None:
        return []
    if seen.dtype == np.uint8 or seen.low < 0 or not 2 < seen.high <= 255:
        return []
    return [
        f"the inputs are floats from {seen.low:.6g} to {seen.high:.6g} of the shape {tuple(seen.shape[1:])}: if they "
        "are images, return uint8, or divide by 255"
    ]


def alike(splits: Sequence[Seen]) -> None:
    """Checks that the splits of a dataset have inputs and targets of the same kind; raises UserError."""
    first = splits[0]
    for each in splits[1:]:
        if each.shape[1:] != first.shape[1:] or each.dtype != first.dtype:
            raise UserError(
                f"{each.where} has inputs {each.dtype}{_sizes(each.shape)} and {first.where} {first.dtype}"
                f"{_sizes(first.shape)}: they must be alike"
            )
        (shape, dtype), (wanted, of) = each.targets, first.targets
        if shape[1:] != wanted[1:] or dtype != of:
            raise UserError(
                f"{each.where} has targets {dtype}{_sizes(shape)} and {first.where} {of}{_sizes(wanted)}: they must be "
                "alike"
            )


def _sizes(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape[1:]))}]"


def weights(split: Split, where: str) -> None:
    """Checks that the sample weights of a split are not all 0; raises UserError."""
    if split.weights is not None and not np.any(split.weights):
        raise UserError(f"{where}: its sample weights are all 0: at least one must be more")


def labels(splits: Sequence[Seen], names: Sequence[str]) -> tuple[str, ...]:
    """Checks the classes of a dataset, and returns their names.

    Args:
      splits: the training examples first.
      names: the classes' names; if there are none, the classes are numbered from 0.

    Returns:
      The names; none where the targets are no classes.

    Raises:
      UserError: a label has no name, a class has no example to train on, or there is only one.
    """
    train = splits[0]
    if not train.labelled and not train.masked:
        if names and len(names) != (width := train.targets[0][-1] if len(train.targets[0]) > 1 else 1):
            raise UserError(f"there are {count(len(names), 'label')}, and {count(width, 'target')} for each example")
        return tuple(names)
    of = "pixel" if train.masked else "example"
    known = len(names) or 1 + max(0, *(max(each.classes) for each in splits))
    for each in splits:
        if strange := sorted(number for number in each.classes if not 0 <= number < known):
            what = f"there are {known} labels" if names else f"the first class is 0; {_PREDICTED}"
            raise UserError(f"{each.where} has the label {strange[0]}: it must be 0 to {known - 1}, as {what}")
    if lacks := known - len(train.classes):  # What was taken for a class may be a price, of millions.
        lacking = itertools.islice((number for number in range(known) if number not in train.classes), _MOST_SHOWN)
        shown = ", ".join(repr(names[number]) if names else str(number) for number in lacking)
        shown += f" and {lacks - _MOST_SHOWN} more" if lacks > _MOST_SHOWN else ""
        cure = (
            "add one, or take the name out of `labels`, or its folder away"
            if names
            else f"number the classes 0, 1, 2 and so on without gaps, or {_PREDICTED}"
        )
        raise UserError(f"{train.where} has no {of} of the class {shown}, of {known} classes: {cure}")
    if known < 2:
        raise UserError(f"{train.where} has a single class: there must be two or more, or floats to predict")
    return tuple(names) or tuple(map(str, range(known)))


def left_out(targets: np.ndarray, names: Sequence[str]) -> list[str]:
    """Returns a line if no example of some classes is left to train on.

    Args:
      targets: int32 array of shape (n,): the labels that are trained on.
      names: of the classes.
    """
    lacking = np.flatnonzero(np.bincount(targets, minlength=len(names)) == 0)
    if not len(lacking):
        return []
    shown = ", ".join(names[number] for number in lacking[:_MOST_SHOWN])
    more = f" and {len(lacking) - _MOST_SHOWN} more" if len(lacking) > _MOST_SHOWN else ""
    return [f"no example of the class {shown}{more} is left to train on: the network cannot learn it"]


def narrowed(values: np.ndarray) -> list[str]:
    """Returns a line for each column of a table that float32 hardly tells apart, such as times in seconds.

    Args:
      values: array of shape (n, columns), as it was before it became float32.
    """
    low, high = (np.asarray(each, np.float64) for each in (values.min(axis=0), values.max(axis=0)))
    step = np.maximum(abs(low), abs(high)) * float(np.finfo(np.float32).eps)
    return [
        f"column {column} of the inputs goes from {low[column]:.10g} to {high[column]:.10g}, in float32 in steps of "
        f"{step[column]:.2g}: subtract its mean first"
        for column in np.flatnonzero((high > low) & (high - low < _FEWEST_STEPS * step))[:_MOST_SHOWN]
    ]


def overlaps(digests: Mapping[str, np.ndarray]) -> list[str]:
    """Returns a line for each two splits that share examples.

    Args:
      digests: of the examples of each split, by its name.
    """
    found, names = [], list(digests)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            shared = int(np.isin(digests[other], digests[one]).sum())
            if shared:
                found.append(
                    f"{shared} of the {len(digests[other])} examples of {other} are in {one} as well: "
                    "what is measured on them says less"
                )
    return found
