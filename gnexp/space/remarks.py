"""What is said of a config before its first step: comparisons that are not fair, and values that change nothing."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from gnexp.config.paths import flatten
from gnexp.config.schema import FIELDS
from gnexp.space.domain import Entry
from gnexp.space.space import Space

# Moving averages forget what they began with as momentum^steps: after 10 / (1 - momentum) steps, 1 / 20,000 is left.
_SETTLED = 10
_WITH_MOVING_AVERAGES = FIELDS["model.momentum"].matters[1]


def of(config: ConfigDict, images: int, space: Space | None = None) -> list[str]:
    """Returns what there is to say of a training or a sweep, one line for each remark.

    Args:
      config: its config.
      images: how many images an epoch trains on.
      space: the search space of a sweep.
    """
    base = flatten(config)

    def values(path: str) -> Sequence[Any]:
        return _values(space, path, base)

    found = []
    if space is not None:
        found = [*without_effect(config, space), *never_tried(config, space), *no_limits(config)]
    norms = [norm for norm in values("model.norm") if norm in _WITH_MOVING_AVERAGES]
    if not norms:
        return found
    which, steps = _all(norms), math.ceil(images / max(values("data.batch_size"))) * min(values("epochs"))
    if steps * (1 - max(values("model.momentum"))) < _SETTLED:
        cure = "train for more steps"
        if steps > _SETTLED:
            cure = f"lower config.model.momentum to {math.floor(100 * (1 - _SETTLED / steps)) / 100:g}, or {cure}"
        found.append(
            f"model.norm={which} is validated and tested with moving averages, which {steps} steps with "
            f"config.model.momentum={max(values('model.momentum')):g} do not settle: this counts against it, and is no "
            f"answer about the norm; {cure}"
        )
    if "plateau" in values("schedule.name"):
        found.append(
            f"config.schedule.name='plateau' sets the learning rate by val_loss, which with model.norm={which} depends "
            "on the moving averages too: this may count against it; 'constant' and 'cosine' treat all norms alike"
        )
    return found


def without_effect(config: ConfigDict, space: Space) -> list[str]:
    """Returns a line for each hyperparameter that is searched where it has no effect, with what to write instead."""
    found = []
    for path in space.searched:
        if path not in FIELDS or FIELDS[path].matters is None:
            continue
        parent, effective = FIELDS[path].matters
        entries, values = space.of(path), _values(space, parent, flatten(config))
        idle = [value for value in values if value not in effective and _count(entries, parent, value) > 1]
        if not idle:
            continue
        cure = "take it out of the space"
        active = [value for value in values if value in effective]
        if active and all(entry.when is None for entry in entries):
            role = "" if entries[0].role == "scientific" else f'role="{entries[0].role}", '
            cases = ", ".join(f"{value}={_code(entries[0])}" for value in active)
            cure = f'write space.{path} = by("{parent}", {role}{cases})'
        found.append(
            f"config.sweep.space.{path} changes nothing with {parent}={_all(idle)}, where each of its values trains "
            f"the same network again; to spare that, {cure}"
        )
    return found


def never_tried(config: ConfigDict, space: Space) -> list[str]:
    """Returns a line if a grid ends before some values of a choice have been tried."""
    most = config.sweep.max_trials
    if config.sweep.tuner != "grid" or space.grid_size() <= most:
        return []
    tried = list(itertools.islice(space.grid_from(space.first(config)), most))
    missed = [
        f"{path}={value}"
        for path in space.asked
        for value in dict.fromkeys(value for entry in space.of(path) for value in entry.values or ())
        if all(values.get(path) != value for values in tried)
    ]
    if not missed:
        return []
    return [
        f"a grid of this space has {space.grid_size()} trials, and config.sweep.max_trials={most} ends it before "
        f"{_all(missed)} has been tried"
    ]


def no_limits(config: ConfigDict) -> list[str]:
    """Returns a line for each limit that only a race has, where a sweep is none."""
    sweep = config.sweep
    given = [name for name in ("max_epochs", "max_seconds") if sweep[name] and sweep.tuner != "racing"]
    return [
        f"config.sweep.{name}={sweep[name]:g} changes nothing with config.sweep.tuner={sweep.tuner!r}: only racing "
        "ends by it, the other tuners by config.sweep.max_trials"
        for name in given
    ]


def _values(space: Space | None, path: str, base: dict[str, Any]) -> Sequence[Any]:
    """Returns the values that a path may have in a training or a sweep, of a range only its ends."""
    entries = space.of(path) if space else []
    if not entries:
        return [base[path]]
    found = [value for entry in entries for value in entry.values or (entry.low, entry.high)]
    # Where a `by` has no case, the config's own value is used.
    return list(dict.fromkeys([*found, *([base[path]] if entries[0].when else [])]))


def _count(entries: Sequence[Entry], parent: str, value: Any) -> float:
    """Returns how many values a path has where its parent has one."""
    there = (entry for entry in entries if not entry.when or entry.when[0] != parent or value in entry.when[1])
    return sum(entry.count() for entry in there)


def _code(entry: Entry) -> str:
    """Returns an entry as a config file writes it, without its role."""
    if entry.kind == "boolean":
        return "boolean()"
    if entry.values:
        return f"choice({', '.join(map(repr, entry.values))})"
    name = {"int": "integers", "float": "floats"}[entry.kind]
    parts = [f"{entry.low:g}", f"{entry.high:g}"]
    parts += [] if entry.step is None else [f"step={entry.step:g}"]
    parts += [] if entry.sampling == "linear" else [f'sampling="{entry.sampling}"']
    return f"{name}({', '.join(parts)})"


def _all(values: Sequence[Any]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last
