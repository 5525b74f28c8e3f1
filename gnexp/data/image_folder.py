"""A folder of images with a folder for each class, with or without folders for the splits above them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnexp.data import images
from gnexp.data.images import Images, Size
from gnexp.errors import UserError

SPLITS = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test",)}
_MOST_SHOWN = 5


def read(directory: str, size: Size = None, crop: bool = True, skip_broken: bool = False) -> Mapping[str, Any]:
    """Returns the images of a folder as a dataset's function does; their labels are the names of their folders.

    Args:
      directory: the folder.
      size: the pixels of a side, or (height, width), that every image is brought to; None leaves them as they are.
      crop: whether the middle is cut out, so that the proportions stay; otherwise the image is distorted.
      skip_broken: whether files that cannot be decoded are left out.

    Raises:
      UserError: there is no such folder, a class has no images, a file cannot be decoded, or sizes differ.
    """
    splits, others = folders(pathlib.Path(directory), "config.data.args.directory", classes=True)
    by_split = {split: _by_class(folder) for split, folder in splits.items()}
    names = tuple(by_split["train"])
    for split, found in by_split.items():
        if strange := [name for name in found if name not in names]:
            raise UserError(f"{splits[split] / strange[0]} is a class that {splits['train']} has not")
    paths = {split: [path for name in found for path in found[name]] for split, found in by_split.items()}
    labels = {
        split: np.concatenate([np.full(len(files), names.index(name), np.int32) for name, files in found.items()])
        for split, found in by_split.items()
    }
    surveyed = {split: images.survey(paths[split]) for split in splits}
    good, said = images.refuse_broken([each for split in splits for each in surveyed[split]], skip_broken)
    kept = dict(
        zip(splits, np.split(np.array(good), np.cumsum([len(paths[split]) for split in splits])[:-1]), strict=True)
    )
    for split, each in surveyed.items():
        surveyed[split] = [file for file, is_good in zip(each, kept[split], strict=True) if is_good]
        labels[split] = labels[split][kept[split]]
        if not surveyed[split]:
            raise UserError(f"{splits[split]} has no image that can be decoded")
    every = [file for each in surveyed.values() for file in each]
    size, grey = images.common_size(every, size), all(file.grey for file in every)
    sources = {split: Images(surveyed[split], labels[split], size, crop, grey) for split in splits}
    return {**sources, "labels": names, "remarks": (*others, *said)}


def folders(
    directory: pathlib.Path, key: str, classes: bool = False
) -> tuple[dict[str, pathlib.Path], tuple[str, ...]]:
    """Returns the folder of each split, and what to say of other folders beside them.

    The directory itself holds the training images if it has no such folders.

    Args:
      directory: what holds them.
      key: the key of the config that names it.
      classes: whether the images lie in a folder for each class. Classes may have the names of splits (`train`, beside
        `bus`): if no such folder has folders, and there are others, they are taken for classes.

    Raises:
      UserError: there is no such folder, or it has two folders for a split, or some for other splits than training.
    """
    if not directory.is_dir():
        raise UserError(f"{key}={str(directory)!r} is not allowed: there is no such folder")
    below = _below(directory)
    found: dict[str, pathlib.Path] = {}
    for split, names in SPLITS.items():
        fitting = [each for each in below if each.name.lower() in names]
        if len(fitting) > 1:
            there = " and ".join(each.name for each in fitting)
            raise UserError(f"{directory} has the folders {there}: one of them must hold the {split} images")
        if fitting:
            found[split] = fitting[0]
    others = [each.name for each in below if each not in found.values()]
    if not found or (classes and others and not any(map(_below, found.values()))):
        return {"train": directory}, ()
    there = ", ".join(folder.name for folder in found.values())
    if "train" not in found:
        raise UserError(f"{directory} has the folder {there}, and no folder train: it needs that, or a folder a class")
    said = f"{directory} has the folders {there}; beside them, {', '.join(others[:_MOST_SHOWN])}"
    said += f" and {len(others) - _MOST_SHOWN} more" if len(others) > _MOST_SHOWN else ""
    return found, (f"{said} {'are' if len(others) > 1 else 'is'} not read",) if others else ()


def _below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders in a folder in alphabetical order; hidden ones are left out."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _by_class(folder: pathlib.Path) -> dict[str, Sequence[pathlib.Path]]:
    """Returns the images of each class, by the names of their folders in alphabetical order."""
    classes = _below(folder)
    if not classes:
        there = "images" if images.files(folder) else "no images"
        raise UserError(f"{folder} holds {there}, and no folders: it must have a folder of images for each class")
    found = {each.name: images.files(each) for each in classes}
    if empty := [name for name, files in found.items() if not files]:
        suffixes = ", ".join(suffix[1:] for suffix in images.SUFFIXES)
        raise UserError(f"{folder / empty[0]} is a class without images: it must hold files of {suffixes}")
    return found
