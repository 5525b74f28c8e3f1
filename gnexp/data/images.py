"""Image files: which there are, whether they can be decoded, and their pixels at the size that is asked for."""

import concurrent.futures
import contextlib
import dataclasses
import io
import os
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from gnexp.data import digests
from gnexp.data.readers import cores
from gnexp.errors import UserError, one_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_GREY = ("1", "L", "LA")
_SHOWN = 3
_JPEG = b"\xff\xd8"
_AVERAGED = 2  # Images that shrink more than this are averaged; others are interpolated, as in Keras.
_kept = threading.local()
cv2.setNumThreads(0)  # Images are read side by side, each by one thread.

Size = int | Sequence[int] | None


@dataclasses.dataclass(frozen=True)
class Surveyed:
    """What is known of a file that has been decoded once.

    Attributes:
      path: the file.
      digest: of its content.
      size: (height, width).
      grey: whether it has no colour.
      values: of a mask, the pixels' values.
      broken: why it cannot be decoded; "" if it can.
    """

    path: pathlib.Path
    digest: int = 0
    size: tuple[int, int] = (0, 0)
    grey: bool = True
    values: frozenset[int] = frozenset()
    broken: str = ""


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the images in a folder and those below it, in the order of their paths; hidden ones are left out."""
    found = []
    for place, below, names in os.walk(folder, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        paths = (pathlib.Path(place, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in SUFFIXES]
    return sorted(found)


def survey(paths: Sequence[pathlib.Path], mask: bool = False) -> list[Surveyed]:
    """Reads every file and decodes it once, as coarsely as its format allows, many at a time.

    Args:
      paths: the files.
      mask: whether they are masks, of which all pixels are looked at.
    """
    return in_threads(lambda path: _surveyed(path, mask), paths)


def in_threads(function, values: Sequence) -> list:
    """Returns the function's value for each of some values; decoding an image lets other threads run."""
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, values, chunksize=16))


def _surveyed(path: pathlib.Path, mask: bool) -> Surveyed:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            size, mode = (image.height, image.width), image.mode
            if mode.startswith(("I", "F")):
                raise ValueError(f"its pixels have the mode {mode!r}: they must have 8 bits")
            values = frozenset()
            if mask:
                values = frozenset(np.unique(_indices(image)).tolist())
            else:
                image.draft(None, (1, 1))  # A JPEG is decoded to an eighth, which finds all damage in less time.
                image.load()
        grey = mode in _GREY
        return Surveyed(path, digests.of_bytes(content), size, grey, values)
    except OSError as error:
        why = "it is no image" if isinstance(error, UnidentifiedImageError) else one_line(error.strerror or error)
        return Surveyed(path, broken=why)
    except Exception as error:  # Decoders raise anything for a damaged file: SyntaxError, struct.error, EOFError ...
        return Surveyed(path, broken=one_line(error) or type(error).__name__)


def _indices(image: Image.Image) -> np.ndarray:
    """Returns the pixels of a mask: grey values, or the numbers of a palette's colours."""
    if image.mode == "P":
        return np.asarray(image)
    if image.mode not in _GREY and len({band.tobytes() for band in image.convert("RGB").split()}) > 1:
        raise ValueError("it is in colour: a mask must have one value for each pixel")
    return np.asarray(image.convert("L"))


def refuse_broken(found: Sequence[Surveyed], skip: bool) -> tuple[list[bool], tuple[str, ...]]:
    """Refuses files that cannot be decoded, or leaves them out.

    Args:
      found: what `survey` returned.
      skip: whether they are left out.

    Returns:
      Whether each is good, and what to say of those that are left out.

    Raises:
      UserError: naming the first ones, with the reasons.
    """
    broken = [each for each in found if each.broken]
    if not broken:
        return [True] * len(found), ()
    shown = ", ".join(f"{each.path} ({each.broken})" for each in broken[:_SHOWN])
    shown += f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    if not skip:
        raise UserError(f"cannot be decoded: {shown}; config.data.args.skip_broken=True leaves such files out")
    said = f"{len(broken)} of {len(found)} files are left out, which cannot be decoded: {shown}"
    return [not each.broken for each in found], (said,)


def common_size(found: Sequence[Surveyed], size: Size) -> tuple[int, int]:
    """Returns (height, width) of all images: the size that is asked for, or else the one that they share.

    Raises:
      UserError: no size is asked for, and they differ.
    """
    if size is not None:
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    first = found[0]
    if other := next((each for each in found if each.size != first.size), None):
        raise UserError(
            f"{first.path} has {first.size[0]}x{first.size[1]} pixels and {other.path} "
            f"{other.size[0]}x{other.size[1]}: give a size to bring all to, such as config.data.args.size=96"
        )
    return first.size


class Images:
    """Image files with their labels or masks.

    Args:
      images: the files, surveyed.
      targets: int32 array of the labels, or the files of the masks, surveyed.
      size: (height, width) to bring them to.
      crop: whether the middle is cut out, so that the proportions stay.
      grey: whether they get one channel rather than three.
      values: what the masks have for each class.

    Attributes:
      digests: of each example, a uint64 array.
      compared: of each image alone, by which it is found in two splits, whatever its mask.
      targets: as above, the labels only; otherwise None.
      classes: how many masks have a class, by its number.
    """

    def __init__(
        self,
        images: Sequence[Surveyed],
        targets: np.ndarray | Sequence[Surveyed],
        size: tuple[int, int],
        crop: bool,
        grey: bool,
        values: Sequence[int] = (),
    ):
        self._paths = [str(each.path) for each in images]
        self._size, self._crop, self._grey = size, crop, grey
        self.compared = self.digests = np.array([each.digest for each in images], np.uint64)
        self.targets = targets if isinstance(targets, np.ndarray) else None
        self._masks = [] if self.targets is not None else [str(each.path) for each in targets]
        self._numbers = np.zeros(256, np.uint8)
        self._numbers[list(values)] = np.arange(len(values))
        self.classes: dict[int, int] = {}
        if self._masks:
            for mask in targets:
                for value in mask.values:
                    number = int(self._numbers[value])
                    self.classes[number] = self.classes.get(number, 0) + 1
            self.digests = self.digests * np.uint64(3) + np.array([each.digest for each in targets], np.uint64)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Decodes an image, and its mask if it has one; raises UserError if it can no longer be decoded."""
        image = _again(decoded, self._paths[index], self._size, self._crop, self._grey)
        if self.targets is not None:
            return image, self.targets[index]
        return image, self._numbers[_again(_mask, self._masks[index], self._size, self._crop)]


def _again(read: Callable[..., np.ndarray], path: str, *arguments: Any) -> np.ndarray:
    try:
        return read(path, *arguments)
    except Exception as error:  # whatever decoders raise for a damaged file
        raise UserError(f"{path} can no longer be decoded: {one_line(error) or type(error).__name__}") from error


def decoded(path: str, size: tuple[int, int], crop: bool, grey: bool) -> np.ndarray:
    """Returns the pixels of an image file, as uint8 of shape (height, width, channels).

    JPEGs are decoded at reduced scale (1/2, 1/4 or 1/8) when the result is still at least as large as `size`.

    Args:
      path: the file.
      size: (height, width).
      crop: whether the middle is cut out, so that the proportions stay.
      grey: whether it gets one channel rather than three.
    """
    content = pathlib.Path(path).read_bytes()
    pixels = None
    if content[:2] == _JPEG:
        with contextlib.suppress(ValueError):  # CMYK, for example
            pixels = _jpeg(content, size, "GRAY" if grey else "RGB")
    if pixels is None:
        mode = "L" if grey else "RGB"
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("RGBA").convert(mode) if image.mode == "P" else image.convert(mode))
    found = resized(pixels, size, crop)
    found = found.copy() if found is pixels else found  # The next JPEG overwrites the buffer.
    return found if found.ndim == 3 else found[..., np.newaxis]


def _jpeg(content: bytes, size: tuple[int, int], colours: str) -> np.ndarray:
    """Returns the pixels of a JPEG, in a buffer that the thread's next call overwrites."""
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    # Of the scales that the format has, powers of two are the fast ones.
    factor = next((each for each in (8, 4, 2) if -(-height // each) >= size[0] and -(-width // each) >= size[1]), 1)
    height, width = -(-height // factor), -(-width // factor)
    if not hasattr(_kept, "pixels") or _kept.pixels.size < height * width * 3:
        _kept.pixels = np.empty(height * width * 3, np.uint8)  # New memory for each image would cost a fourth more.
    return simplejpeg.decode_jpeg(
        content, colours, True, True, min_height=height, min_width=width, min_factor=1, buffer=_kept.pixels
    )


def _mask(path: str, size: tuple[int, int], crop: bool) -> np.ndarray:
    with Image.open(path) as image:
        return resized(_indices(image), size, crop, mask=True)


def resized(pixels: np.ndarray, size: tuple[int, int], crop: bool, mask: bool = False) -> np.ndarray:
    """Returns an image at another size; if it has a single channel, perhaps without that axis.

    Args:
      pixels: uint8 array of shape (height, width) or (height, width, channels).
      size: (height, width).
      crop: whether the middle is cut out, so that the proportions stay.
      mask: whether values must not be mixed: the nearest pixel is taken.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    if crop:
        scale = min(height / size[0], width / size[1])
        rows, columns = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
        top, left = (height - rows) // 2, (width - columns) // 2
        pixels = pixels[top : top + rows, left : left + columns]
    ratios = pixels.shape[0] / size[0], pixels.shape[1] / size[1]
    averaged = min(ratios) >= 1 and max(ratios) > _AVERAGED
    kind = cv2.INTER_NEAREST_EXACT if mask else cv2.INTER_AREA if averaged else cv2.INTER_LINEAR
    return cv2.resize(pixels, size[::-1], interpolation=kind)
