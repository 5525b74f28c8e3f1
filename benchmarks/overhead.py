"""The share of logging, checkpoints, progress and pictures in the time of a training of configs/fmnist.py.

Run:      python -m benchmarks.overhead
Time:     2 minutes on 2 CPU cores.

A training of few epochs as `gnexp.train` runs it, on random images of Fashion-MNIST's number and size. Work is what
the training itself does: building the network, its steps, the evaluations. All other time in `training.run.train` is
overhead. Some of it is spent once, at the start and the end, so that it weighs less with the config's own number of
epochs.
"""

import os
import pathlib
import tempfile
import time

from absl import app, flags

from benchmarks import measure
from configs import fmnist

_OUT = flags.DEFINE_string("out", "build/benchmarks/overhead.json", "Where the figures go.")
_EPOCHS = flags.DEFINE_integer("epochs", 2, "How many epochs are trained.", lower_bound=2)


def _timed():
    """Returns a `Training` class that measures its work and, as a part of it, the progress bar; and the seconds."""
    from gnexp.training.loop import Training

    notes = {"work": 0.0, "progress": 0.0}

    class Timed(Training):
        def __init__(self, *arguments):
            began = time.perf_counter()
            super().__init__(*arguments)
            self._trained = False
            notes["work"] += time.perf_counter() - began

        def epochs(self, on_steps, *arguments):
            def timed_steps(*progress):
                began = time.perf_counter()
                on_steps(*progress)
                notes["progress"] += time.perf_counter() - began

            epochs = super().epochs(timed_steps, *arguments)
            while True:
                began = time.perf_counter()
                epoch = next(epochs, None)
                notes["work"] += time.perf_counter() - began
                if epoch is None:
                    break
                yield epoch
            self._trained = True

        def evaluate(self, *arguments):
            began = time.perf_counter()
            evaluation = super().evaluate(*arguments)
            if self._trained:
                notes["work"] += time.perf_counter() - began
            return evaluation

    return Timed, notes


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    from gnexp.config.stored import record
    from gnexp.data.splits import Split, Splits
    from gnexp.training import run
    from gnexp.workdir.folder import opened

    config = record(fmnist.get_config(), "fashion_mnist")
    config.epochs = _EPOCHS.value
    random = np.random.default_rng(0)

    def images(count):
        return Split(random.integers(0, 256, (count, 28, 28, 1), np.uint8), random.integers(0, 10, count, np.int32))

    splits = Splits(train=images(54000), validation=images(6000), test=images(10000), labels=tuple("0123456789"))
    run.Training, notes = _timed()
    # Not in /tmp, which may be memory.
    out = pathlib.Path(_OUT.value).parent
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=out) as folder,
        opened(pathlib.Path(folder) / "workdir", config) as config,
    ):
        began = time.perf_counter()
        done = run.train(config, splits, pathlib.Path(folder) / "workdir")
        total = time.perf_counter() - began
    overhead = total - notes["work"] + notes["progress"]
    epoch = min(each["seconds"] for each in done.history)
    rows = [
        [f"{_EPOCHS.value} epochs", f"{total:.1f}"],
        ["an epoch, validation included", f"{epoch:.1f}"],
        ["overhead", f"{overhead:.2f}"],
        ["progress, a part of it", f"{notes['progress']:.3f}"],
        ["overhead / total", f"{overhead / total:.1%}"],
    ]
    measure.show(rows, ["", "seconds"])
    measure.write(
        _OUT.value, {"total": total, "epoch": epoch, "overhead": overhead, **notes, "share": overhead / total}
    )


if __name__ == "__main__":
    app.run(main)
