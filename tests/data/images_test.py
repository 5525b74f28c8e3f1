"""Decoding: every image is itself, at the size that is asked for, as Pillow has it."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from gnexp.data import images

pytestmark = pytest.mark.any_backend
SIZES = [(40, 60), (375, 500), (96, 96), (97, 191), (192, 192), (1000, 130), (64, 64)]


def waves(height: int, width: int, number: int) -> Image.Image:
    """Returns a smooth picture, another one for each number."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    channels = [127 + 120 * np.sin(3 * x + 4 * y + number + phase) for phase in (0, 2, 4)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def pillows(path: pathlib.Path, size: tuple[int, int], crop: bool, grey: bool) -> np.ndarray:
    """Returns what Pillow makes of a file: the middle of it, averaged."""
    with Image.open(path) as image:
        pixels = image.convert("L" if grey else "RGB")
    height, width = pixels.height, pixels.width
    scale = min(height / size[0], width / size[1])
    rows, columns = (scale * size[0], scale * size[1]) if crop else (height, width)
    left, top = max(0, (width - columns) / 2), max(0, (height - rows) / 2)
    box = (left, top, min(width, left + columns), min(height, top + rows))
    found = np.asarray(pixels.resize(size[::-1], Image.Resampling.BILINEAR, box=box))
    return found if found.ndim == 3 else found[..., np.newaxis]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_images_of_all_sizes_are_each_as_pillow_has_it(tmp_path, suffix, crop, grey):
    paths = []
    for number, (height, width) in enumerate(SIZES):
        paths.append(tmp_path / f"{number}.{suffix}")
        waves(height, width, number).save(paths[-1], **({"quality": 95} if suffix == "jpg" else {}))
    # All are decoded before one is looked at: none may lie in memory that a later one takes over.
    for size in ((96, 96), (40, 60), (375, 500)):
        found = images.in_threads(lambda path, size=size: images.decoded(str(path), size, crop, grey), paths)
        for path, pixels in zip(paths, found, strict=True):
            expected = pillows(path, size, crop, grey)
            assert pixels.shape == expected.shape and pixels.dtype == np.uint8
            assert np.abs(pixels.astype(int) - expected).mean() < 4, (path, size)  # crops are of whole pixels


def test_no_line_of_a_jpeg_is_passed_over_when_it_shrinks(tmp_path):
    height, width = 376, 500
    for line in range(0, 376, 5):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[line] = 255
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "JPEG", quality=95)
        (tmp_path / "line.jpg").write_bytes(written.getvalue())
        for side in (200, 250):  # a step of 1.9 and of 1.5 lines
            found = images.decoded(str(tmp_path / "line.jpg"), (side, side), crop=False, grey=False)
            assert found.max() > 10, (line, side)
