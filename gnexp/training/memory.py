"""Refuses a training that cannot fit into memory, before it begins, and says in one line that memory ran out.

The estimates are lower bounds, compared with all the memory that a process could ever have here: what they refuse
cannot run, whatever else does. This module imports no Keras before `check`.
"""

import contextlib
import functools
import itertools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from gnexp.config.stored import to_json
from gnexp.data.splits import SHAPE, Splits
from gnexp.errors import GnexpError, first_line
from gnexp.space.domain import Entry, is_numeric
from gnexp.space.parse import parse_space
from gnexp.space.space import combine
from gnexp.terminal.machine import memory as limit
from gnexp.terminal.machine import size

if TYPE_CHECKING:
    from gnexp.models.outputs import Outputs  # The package imports Keras.

_MOST_CHECKED = 100
_SMALL = ("fashion_mnist", "digits", "mnist")  # datasets whose images have SHAPE
_MATTERING = ("model.", "optimizer.name", "data.batch_size", "precision")
_EXHAUSTED = re.compile("OOM when allocating|RESOURCE_EXHAUSTED|Unable to allocate")


class MemoryTooSmallError(GnexpError):
    """A training needs more memory than there is; in a sweep, its trial fails."""

    exit_code = 2


class OutOfMemoryError(GnexpError):
    """Memory ran out during a training."""


def largest(config: ConfigDict) -> Iterator[ConfigDict]:
    """Yields the config of a training, or the configs of those trials of a sweep that may take most memory.

    Of numbers only the largest values are taken, of other choices each. On Ray, trials run on other machines, where
    each checks itself.
    """
    if "sweep" not in config:
        yield config
        return
    if config.sweep.executor == "ray":
        return
    space = parse_space(config)
    parents = {entry.when[0] for entry in space.entries if entry.when and entry.path.startswith(_MATTERING)}
    entries = [entry for entry in space.entries if entry.path in parents or entry.path.startswith(_MATTERING)]

    def values(entry: Entry) -> list:
        every = entry.checked()
        return [max(every)] if all(map(is_numeric, every)) and entry.path not in parents else every

    for chosen in itertools.islice(combine(entries, values), _MOST_CHECKED):
        yield space.config(config, chosen)


def check_at_once(config: ConfigDict) -> None:
    """Checks the weights of the network `cnn` for small grey images, without Keras; `check` checks every network.

    Raises:
      MemoryTooSmallError: naming the keys, their values and the figures.
    """
    if config.model.name != "cnn" or config.data.name not in _SMALL:
        return
    filters, units = tuple(config.model.args.filters), config.model.args.units
    channels = [SHAPE[-1], *filters]
    side = max(1, (SHAPE[0] - 2 * len(filters)) // 2)
    parameters = sum(9 * a * b for a, b in itertools.pairwise(channels)) + side**2 * channels[-1] * units
    # Each with its gradient, and once more for the best epoch.
    _compare(
        3 * 4 * parameters, parameters, f"config.model.args.units={units} with config.model.args.filters={filters}"
    )


def check(config: ConfigDict, splits: Splits, outputs: "Outputs") -> None:
    """Checks what a training takes at least: weights, gradients, the optimizer's slots and activations.

    A GPU has its own memory. With one, only the weights are checked, which are kept outside of it as well.

    Args:
      config: the config of the training.
      splits: its dataset.
      outputs: what its task asks of the network.

    Raises:
      MemoryTooSmallError: naming the keys, their values and the figures.
    """
    from gnexp.training import backend

    model = json.dumps(to_json(config.model))
    cost = _cost(model, config.precision, splits.input_shape, splits.input_dtype, outputs)
    batch, optimizer = config.data.batch_size, config.optimizer.name
    gpu = "gpu" in " ".join(backend.devices()).lower()
    needed = 2 * cost.weights if gpu else cost.training(batch, _slots(json.dumps(to_json(config.optimizer))))
    layer, count = cost.largest
    what = f"config.data.batch_size={batch} with config.optimizer.name={optimizer!r} and config.model"
    _compare(needed, cost.parameters, f"{what} (whose layer {layer!r} has {count:,} parameters)")


@functools.lru_cache
def _cost(model: str, precision: str, shape: tuple[int, ...], dtype: str, outputs: "Outputs") -> Any:
    from gnexp.models import build, cost

    return cost.measure(lambda: build.build(ConfigDict(json.loads(model)), shape, outputs, precision, dtype))


def forget_networks() -> None:
    """Has networks measured anew: the user's functions may build others than before."""
    _cost.cache_clear()


@functools.lru_cache
def _slots(optimizer: str) -> int:
    from gnexp.models import cost
    from gnexp.training import optimizers

    # Keras's own optimizer for XLA has no scratch memory.
    schedule = ConfigDict({"name": "constant"})
    return cost.slots(optimizers.build(ConfigDict(json.loads(optimizer)), schedule, 1, 1, jit_compile=True))


def _compare(needed: int, parameters: int, what: str) -> None:
    if needed > (most := limit()):
        raise MemoryTooSmallError(
            f"{what} is not allowed: training the network's {parameters:,} parameters takes at least {size(needed)} "
            f"of memory, and this process can have {size(most)}"
        )


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Says of a backend's error that memory ran out what it is.

    Raises:
      OutOfMemoryError: TensorFlow, JAX or NumPy could not allocate an array.
    """
    try:
        yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if _EXHAUSTED.search(line)]
        if not lines and not isinstance(error, MemoryError):
            raise
        raise OutOfMemoryError(
            f"out of memory ({lines[0] if lines else first_line(error) or 'MemoryError'}): lower "
            "config.data.batch_size, or choose a smaller network"
        ) from error
