"""How long the command takes to answer a mistake, to print its help, and to reach the first training step.

Run:      python -m benchmarks.startup
Time:     2 minutes on 2 CPU cores.

Each turn is a new process, measured from its start. The reference for the first step is plain Keras: importing it,
building and compiling configs/fmnist.py's network and, in the first line, its first step, which traces the graph, on
images of zeros. gnexp's first step comes after it has loaded its data and made its workdir, event files and checkpoint.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import app, flags

from benchmarks import measure

_OUT = flags.DEFINE_string("out", "build/benchmarks/startup.json", "Where the figures go.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How many turns each contestant has.", lower_bound=1)

_BARE = """
from configs import fmnist
config = fmnist.get_config()
import keras, numpy as np
from gnexp.models.build import build
model = build(config.model, (28, 28, 1), 10)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
"""
_FIRST_STEP = """
model.train_on_batch(np.zeros((128, 28, 28, 1), np.uint8), np.zeros(128, np.int32))
"""
_END = """
import os
os._exit(0)
"""
# The process ends as soon as the progress bar is told of the first step.
_COMMAND = """
import os, sys
from gnexp import train
from gnexp.training import console
console.TerminalConsole.steps = lambda *_: os._exit(0)
sys.argv = ["gnexp.train", "--config=configs/fmnist.py", "--workdir=" + sys.argv[1]]
train.main()
"""
_REFERENCE = "Keras: import, compile, first step"


def _process(*arguments: str, code: int = 0) -> Callable[[], float]:
    def turn() -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, *(argument.format(folder=folder) for argument in arguments)]
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            took = time.perf_counter() - began
        if done.returncode != code:
            raise RuntimeError(f"{command} ends with {done.returncode}: {done.stderr}")
        return took

    return turn


def main(argv: list[str]) -> None:
    """Runs the command line; see the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    train = ("-m", "gnexp.train")
    contestants = {
        _REFERENCE: _process("-c", _BARE + _FIRST_STEP + _END),
        "Keras: import, compile": _process("-c", _BARE + _END),
        "gnexp.train, first step": _process("-c", _COMMAND, "{folder}/workdir"),
        "gnexp.train, a mistake": _process(*train, "--config=configs/fmnist.py", "--config.model.groups=7", code=2),
        "gnexp.train --help": _process(*train, "--help"),
        "python -c pass": _process("-c", "pass"),
    }
    found = measure.take_turns(contestants, _ROUNDS.value + 1)
    figures = measure.compare(
        {name: turns[1:] for name, turns in found.items()}, _REFERENCE
    )  # the first round has cold caches
    print("From the start of the process to its end")
    rows = [
        [name, f"{each['median']:.2f} ±{each['spread']:.2f}", f"{1 / each['ratio']:.2f}"]
        for name, each in figures.items()
    ]
    measure.show(rows, ["", "seconds", "times the first line"])
    measure.write(_OUT.value, figures)


if __name__ == "__main__":
    app.run(main)
