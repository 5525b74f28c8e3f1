"""How many JPEG files a second are read, decoded and resized, in shuffled batches of 32.

Run:      python -m benchmarks.data
          python -m benchmarks.data --directory=flowers --sides=96,256
Time:     3 minutes on 2 CPU cores.

The reference is keras.utils.image_dataset_from_directory, with its defaults and with prefetching. Without --directory,
the files are made for this: 500x375 pixels, as many photographs have, at the quality 90. gnexp reads them as it does
during a training on data that is larger than memory, in processes that have begun, and into memory, in threads.
"""

import os
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import measure
from gnexp.data import image_folder, read, stream
from gnexp.data.splits import Split

_OUT = flags.DEFINE_string("out", "build/benchmarks/data.json", "Where the figures go.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "How many turns each contestant has.", lower_bound=1)
_DIRECTORY = flags.DEFINE_string(
    "directory", None, "A folder of JPEG files, a folder for each class; made if not given."
)
_SIDES = flags.DEFINE_list("sides", ["96", "224"], "The sizes that the images are brought to.")
_FILES, _WIDTH, _HEIGHT, _BATCH = 640, 500, 375, 32
_REFERENCE = "Keras"


def _make(folder: pathlib.Path) -> None:
    """Writes images of blurred colours with a little noise, of two classes."""
    random = np.random.default_rng(0)
    for number in range(_FILES):
        small = random.integers(0, 256, (_HEIGHT // 16, _WIDTH // 16, 3), dtype=np.uint8)
        colours = Image.fromarray(small).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        noise = random.normal(0, 4, (_HEIGHT, _WIDTH, 3))
        path = folder / str(number % 2) / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.clip(np.asarray(colours) + noise, 0, 255).astype(np.uint8)).save(path, quality=90)


def _contestants(folder: str, side: int) -> dict[str, Callable[[], float]]:
    """Returns the contestants; a turn is a pass over all files, and returns the seconds for each."""
    import keras
    import tensorflow as tf

    theirs = keras.utils.image_dataset_from_directory(folder, image_size=(side, side), batch_size=_BATCH, verbose=0)
    found = image_folder.read(folder, size=side)
    ahead = read.parts(found, "image_folder", memory=1)["train"]
    random = np.random.default_rng(0)

    def keras_turn(dataset: tf.data.Dataset) -> Callable[[], float]:
        def turn() -> float:
            began = time.perf_counter()
            count = sum(len(images) for images, _ in dataset)
            return (time.perf_counter() - began) / count

        return turn

    def ours(split: Split) -> Callable[[], float]:
        def turn() -> float:
            count = len(split) // _BATCH * _BATCH
            order = random.permutation(len(split))[:count].astype(np.int32).reshape(-1, _BATCH)
            began = time.perf_counter()
            for _ in stream.batches(split, order):
                pass
            return (time.perf_counter() - began) / count

        turn()  # begins the processes
        return turn

    def in_memory() -> float:
        began = time.perf_counter()
        count = len(read.parts(found, "image_folder", memory=1 << 40)["train"])
        return (time.perf_counter() - began) / count

    return {
        _REFERENCE: keras_turn(theirs),
        "Keras, prefetching": keras_turn(theirs.prefetch(tf.data.AUTOTUNE)),
        "gnexp, read ahead": ours(ahead),
        "gnexp, into memory": in_memory,
    }


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as made:
        if not _DIRECTORY.value:
            _make(pathlib.Path(made))
        figures = {}
        for side in map(int, _SIDES.value):
            contestants = _contestants(_DIRECTORY.value or made, side)
            for turn in contestants.values():
                turn()  # The files are in the cache from here on.
            figures[f"{side} pixels"] = measure.compare(measure.take_turns(contestants, _ROUNDS.value), _REFERENCE)
    print("Times as many images a second as the first line (ms for an image)")
    names = list(next(iter(figures.values())))
    rows = [[name, *(measure.in_words(each[name]) for each in figures.values())] for name in names]
    measure.show(rows, ["", *figures])
    measure.write(_OUT.value, figures)


if __name__ == "__main__":
    app.run(main)
