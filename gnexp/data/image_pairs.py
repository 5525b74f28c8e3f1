"""Images and their masks in two folders, in files of the same names."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from gnexp.data.image_folder import folders
from gnexp.data.images import Images, Size, Surveyed, common_size, files, refuse_broken, survey
from gnexp.errors import UserError
from gnexp.terminal.words import count

_MOST_SHOWN = 8


def read(
    images: str,
    masks: str,
    values: tuple[int, ...] = (),
    size: Size = None,
    crop: bool = True,
    skip_broken: bool = False,
) -> Mapping[str, Any]:
    """Returns images and masks as a dataset's function does; a class for each value of the masks.

    Args:
      images: the folder of the images, with or without folders for the splits.
      masks: that of the masks; a mask has the path of its image, with any suffix.
      values: what the masks have for each class; () takes 0, 1, 2 and so on, or 0 and 255.
      size: the pixels of a side, or (height, width), that all are brought to; None leaves them as they are.
      crop: whether the middle is cut out, so that the proportions stay; otherwise the image is distorted.
      skip_broken: whether pairs of which a file cannot be decoded are left out.

    Raises:
      UserError: there is no such folder, a file is without its partner, its mask has another size or another value, or
        cannot be decoded, or sizes differ.
    """
    places, remarks = zip(
        folders(pathlib.Path(images), "config.data.args.images"),
        folders(pathlib.Path(masks), "config.data.args.masks"),
        strict=True,
    )
    if lone := sorted(places[0].keys() ^ places[1].keys()):
        having, lacking = (images, masks) if lone[0] in places[0] else (masks, images)
        raise UserError(f"{having} has a folder for {lone[0]}, and {lacking} has none")
    found, remarks = {}, remarks[0] + remarks[1]
    for split in places[0]:
        found[split], said = _surveyed(places[0][split], places[1][split], skip_broken)
        remarks += said
    every = [file for pairs in found.values() for file, _ in pairs]
    values = _values([mask for pairs in found.values() for _, mask in pairs], tuple(values))
    shared = common_size(every, size)
    grey = all(file.grey for file in every)
    sources = {
        split: Images([a for a, _ in pairs], [b for _, b in pairs], shared, crop, grey, values)
        for split, pairs in found.items()
    }
    return {**sources, "labels": tuple(map(str, values)), "remarks": remarks}


def _surveyed(
    of_images: pathlib.Path, of_masks: pathlib.Path, skip: bool
) -> tuple[list[tuple[Surveyed, Surveyed]], tuple[str, ...]]:
    """Returns the pairs of two folders, and what to say of those that are left out."""
    here, there = _by_name(of_images), _by_name(of_masks)
    if not here:
        raise UserError(f"{of_images} holds no images")
    if lone := sorted(here.keys() ^ there.keys()):
        path = here.get(lone[0]) or there[lone[0]]
        lacking = of_masks if lone[0] in here else of_images
        more = f" (nor have {count(len(lone) - 1, 'other file')})" if len(lone) > 1 else ""
        raise UserError(f"{path} has no partner in {lacking}{more}")
    names = sorted(here)
    surveyed = survey([here[name] for name in names]), survey([there[name] for name in names], mask=True)
    good, said = refuse_broken([*surveyed[0], *surveyed[1]], skip)
    pairs = [
        pair
        for pair, *fine in zip(zip(*surveyed, strict=True), good[: len(names)], good[len(names) :], strict=True)
        if all(fine)
    ]
    if not pairs:
        raise UserError(f"{of_images} has no image that can be decoded with its mask")
    for image, mask in pairs:
        if image.size != mask.size:
            raise UserError(
                f"{image.path} has {image.size[0]}x{image.size[1]} pixels and its mask {mask.path} "
                f"{mask.size[0]}x{mask.size[1]}: they must be alike"
            )
    return pairs, said


def _by_name(folder: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Returns the files of a folder by their names without the endings, by which images find their masks."""
    found: dict[pathlib.Path, pathlib.Path] = {}
    for path in files(folder):
        name = path.relative_to(folder).with_suffix("")
        if name in found:
            raise UserError(f"{found[name]} and {path} have one name: an image and its mask are found by it")
        found[name] = path
    return found


def _values(masks: Sequence[Surveyed], asked: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the value of each class."""
    found = sorted(frozenset.union(*(mask.values for mask in masks)))
    if asked:
        if strange := next((mask for mask in masks if mask.values - {*asked}), None):
            extra = ", ".join(map(str, sorted(strange.values - {*asked})[:_MOST_SHOWN]))
            raise UserError(f"{strange.path} has the values {extra}, which config.data.args.values={asked} lacks")
        return asked
    if found == [0, 255]:
        return 0, 255
    if found != list(range(len(found))) or len(found) < 2:
        shown = ", ".join(map(str, found[:_MOST_SHOWN])) + (", ..." if len(found) > _MOST_SHOWN else "")
        raise UserError(
            f"the masks have the values {shown}: they must be 0, 1, 2 and so on, or 0 and 255; otherwise name them in "
            "the order of the classes, such as config.data.args.values=(0,128,255)"
        )
    return tuple(found)
