"""The search space: one table, from which come the hyperparameters, their domains and each trial's config.

The table `config.sweep.space` mirrors the config's sections, so that an entry has the dotted path of what it searches:

    space.model.groups = choice(1, 2, 4, 8)
    space.model.epsilon = floats(1e-7, 1e-2, sampling="log")
    space.optimizer.name = choice("adam", "sgd")
    space.optimizer.learning_rate = by(
        "optimizer.name",
        role="nuisance",
        adam=floats(1e-4, 1e-2, sampling="log"),
        sgd=floats(1e-3, 1.0, sampling="log"),
    )
    space.optimizer.momentum = by("optimizer.name", role="nuisance", sgd=floats(0.5, 0.99))

Words are keras-tuner's (choice, int, float, boolean, fixed; min_value, max_value, step, sampling). Roles are those of
Google's Deep Learning Tuning Playbook: a scientific hyperparameter is what the sweep asks about, a nuisance one has to
be optimized for the answer to be fair, a fixed one stays.
"""

import contextlib
import copy
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict, config_dict

from gnexp.config.paths import flatten, is_of_space
from gnexp.config.schema import FIELDS
from gnexp.config.stored import from_json, to_json
from gnexp.config.validation import TOGETHER, unknown_key, validate_together
from gnexp.errors import UserError

ROLES = ("scientific", "nuisance")
_FIXED = "fixed"
_KINDS = ("choice", "int", "float", "boolean", _FIXED)
# How many values a grid tries of a range that has no step, as in keras-tuner.
_GRID_POINTS = 10
# Above so many whole numbers, the ends of a range stand for it when it is checked.
_MOST_CHECKED = 1000
_MOST_VALUES = 10**6
_NOT_SEARCHED = {
    "seed": "config.sweep.executions says how many seeds each trial has",
    "objective": "a sweep has one objective",
    "model.filters": "it holds several numbers",
    "data.name": "a sweep has one dataset",
    "data.fallback": "a sweep has one dataset",
    "data.directory": "a sweep has one dataset",
    "data.validation": "trials could not be compared",
    "data.train_size": "all trials share one dataset",
    "deterministic": "it holds for a whole process",
}


def choice(*values: bool | int | float | str, role: str = "scientific") -> ConfigDict:
    """Returns an entry that takes one of `values`."""
    return ConfigDict({"type": "choice", "values": tuple(values), "role": role})


def integers(
    min_value: int, max_value: int, step: int | None = None, sampling: str = "linear", role: str = "scientific"
) -> ConfigDict:
    """Returns an entry of whole numbers from `min_value` to `max_value`, both included.

    Args:
      min_value: the lowest.
      max_value: the highest.
      step: what is added from one to the next, or multiplied where `sampling` is "log".
      sampling: "linear" or "log".
      role: "scientific" or "nuisance".
    """
    return _range("int", int, min_value, max_value, step, sampling, role)


def floats(
    min_value: float, max_value: float, step: float | None = None, sampling: str = "linear", role: str = "scientific"
) -> ConfigDict:
    """Returns an entry of floating-point numbers; the arguments are those of `integers`."""
    return _range("float", float, float(min_value), float(max_value), step, sampling, role)


def _range(kind: str, number: type, min_value, max_value, step, sampling: str, role: str) -> ConfigDict:
    entry = ConfigDict({"type": kind, "min_value": min_value, "max_value": max_value, "sampling": sampling})
    # The placeholder knows its type, which a flag needs; a step of another type is for `parse` to refuse.
    if step is None:
        entry.step = config_dict.placeholder(number)
    else:
        entry.step = float(step) if number is float else step
    entry.role = role
    return entry


def boolean(role: str = "scientific") -> ConfigDict:
    """Returns an entry that is true or false."""
    return ConfigDict({"type": "boolean", "role": role})


def fixed(value: bool | int | float | str) -> ConfigDict:
    """Returns an entry of one value, which is part of the space's description and is not searched."""
    return ConfigDict({"type": _FIXED, "value": value, "role": _FIXED})


def by(parent: str, role: str = "scientific", **cases: ConfigDict) -> ConfigDict:
    """Returns an entry whose domain hangs on the value of another hyperparameter.

    Args:
      parent: the other's dotted path; it must be a choice or a boolean that hangs on nothing itself.
      role: "scientific" or "nuisance".
      **cases: the entry for each of the parent's values. For a value without one there is nothing to search, and
        the config's own value stays.
    """
    # A deep copy of each, which may be one object: unlike its values, it knows the type of a step that is not given.
    domains = {value: copy.deepcopy(entry) for value, entry in cases.items()}
    for domain in domains.values():
        del domain["role"]
    return ConfigDict({"type": "by", "parent": parent, "cases": domains, "role": role})


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one dotted path may be, all over the space or where its parent has certain values.

    Attributes:
      path: the dotted path.
      kind: "choice", "int", "float", "boolean" or "fixed".
      role: "scientific", "nuisance" or "fixed".
      values: all of them, for choice, boolean and fixed.
      low, high, step, sampling: of int and float.
      when: (parent's path, the parent's values), or None.
    """

    path: str
    kind: str
    role: str
    values: tuple = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    sampling: str = ""
    when: tuple[str, tuple] | None = None

    def points(self) -> list:
        """Returns the values that a grid tries: all that there are, or some of a range without a step."""
        if self.step is None and not self.values and (self.kind == "float" or self.sampling == "log"):
            count = _GRID_POINTS if self.low < self.high else 1
            spaced = (np.geomspace if self.sampling == "log" else np.linspace)(self.low, self.high, count)
            return sorted({round(value) for value in spaced}) if self.kind == "int" else spaced.tolist()
        return self.everything()

    def everything(self) -> list:
        """Returns all values of an entry that has finitely many."""
        if self.values:
            return list(self.values)
        if self.low == self.high:
            return [self.low]
        count, step = self.count(), self.step or 1
        if self.sampling == "log" and self.step is not None:
            spaced = [self.low * math.pow(step, index) for index in range(count)]
        else:
            spaced = [self.low + index * step for index in range(count)]
        return [int(value) for value in spaced] if self.kind == "int" else [min(value, self.high) for value in spaced]

    def count(self) -> float:
        """Returns how many values there are: a whole number, or infinity."""
        if self.values:
            return len(self.values)
        if self.low == self.high:
            return 1
        if self.step is None and self.kind == "float":
            return math.inf
        if self.step is not None and self.sampling == "log":
            return int(math.log(self.high / self.low, self.step) + 1e-8) + 1
        return int((self.high - self.low) / (self.step or 1) + 1e-8) + 1

    def checked(self) -> list:
        """Returns the values that stand for all of them when the space is checked."""
        if not self.values and (self.kind == "float" or self.count() > _MOST_CHECKED):
            return [self.low, self.high]
        return self.everything()

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Tells whether the entry is searched where the others have `values`."""
        return self.when is None or values.get(self.when[0]) in self.when[1]

    def __str__(self):
        """The domain in words."""
        if self.values:
            domain = ", ".join(map(str, self.values))
        else:
            domain = f"{self.low:g} to {self.high:g}, {self.sampling}"
            domain += "" if self.step is None else f", step {self.step:g}"
        return domain


@dataclasses.dataclass(frozen=True)
class Column:
    """One hyperparameter as the HParams dashboard has it.

    Attributes:
      name: of the column.
      values: all that it can hold, or the two ends where `interval` is true.
      interval: whether it may be anything between the two.
      differs: whether the sweep varies it, so that it is shown first.
    """

    name: str
    values: tuple
    interval: bool = False
    differs: bool = False


class Space:
    """A sweep's search space, checked.

    Attributes:
      entries: each `Entry`, parents before what hangs on them.
    """

    def __init__(self, entries: list[Entry]):
        """Puts the entries in order; `parse` makes a space from a config."""
        self.entries = tuple(sorted(entries, key=lambda entry: (entry.when is not None, entry.path)))

    @property
    def paths(self) -> list[str]:
        """The dotted paths that are in the space, each once."""
        return list(dict.fromkeys(entry.path for entry in self.entries))

    @property
    def searched(self) -> list[str]:
        """Those that have more than one value."""
        return [path for path in self.paths if sum(entry.count() for entry in self._of(path)) > 1]

    def _of(self, path: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.path == path]

    def role(self, path: str) -> str:
        """Returns the role of a path in the space."""
        return self._of(path)[0].role

    def listed(self, path: str) -> bool:
        """Tells whether a path has certain values only, and no range."""
        return all(entry.values for entry in self._of(path))

    def logarithmic(self, path: str) -> bool:
        """Tells whether a path is sampled on a logarithmic scale wherever it is searched."""
        return all(entry.sampling == "log" or entry.kind == _FIXED for entry in self._of(path))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields every combination of the entries' `points`, the last entry changing fastest."""
        return _combinations(self.entries, Entry.points)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yields every combination of a space whose `size` is finite."""
        return _combinations(self.entries, Entry.everything)

    def size(self) -> float:
        """Returns how many combinations there are: a whole number, or infinity."""
        return self._combined(Entry.count)

    def grid_size(self) -> int:
        """Returns how many combinations `grid` yields."""
        return int(self._combined(lambda entry: len(entry.points())))

    def _combined(self, count) -> float:
        parents = {entry.when[0] for entry in self.entries if entry.when}
        deciding = [entry for entry in self.entries if entry.path in parents]
        free = math.prod(count(entry) for entry in self.entries if entry.when is None and entry.path not in parents)
        hanging = [entry for entry in self.entries if entry.when]
        return free * sum(
            math.prod(count(entry) for entry in hanging if entry.holds(values))
            for values in _combinations(deciding, Entry.points)
        )

    def hyperparameters(self):
        """Returns the space as keras_tuner.HyperParameters."""
        import keras_tuner  # Costs seconds: TensorFlow.

        hps = keras_tuner.HyperParameters()
        for entry in self.entries:
            scope = (
                hps.conditional_scope(entry.when[0], list(entry.when[1])) if entry.when else contextlib.nullcontext()
            )
            with scope:
                match entry.kind:
                    case "choice" if len(entry.values) > 1:
                        hps.Choice(entry.path, list(entry.values))
                    case "boolean":
                        hps.Boolean(entry.path)
                    case "fixed" | "choice":
                        hps.Fixed(entry.path, entry.values[0])
                    case "int":
                        hps.Int(entry.path, entry.low, entry.high, entry.step, entry.sampling)
                    case "float" if entry.step is None:
                        hps.Float(entry.path, entry.low, entry.high, sampling=entry.sampling)
                    case "float":
                        # keras-tuner's own steps miss the last of 0, 0.1, 0.2, 0.3.
                        hps.Choice(entry.path, entry.everything())
        return hps

    def config(self, sweep: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
        """Returns the config of a trial: the sweep's own, without its sweep, with the trial's values."""
        # Through plain values: a ConfigDict would not take a float where its file has a whole number.
        plain = to_json(sweep)
        del plain["sweep"]
        for path in self.paths:
            if path in values:
                *sections, key = path.split(".")
                functools.reduce(dict.__getitem__, sections, plain)[key] = values[path]
        return from_json(plain)

    def columns(self, hparams: Mapping[str, Any]) -> list[Column]:
        """Returns the dashboard's columns.

        Args:
          hparams: every hyperparameter of the sweep's own config (`hparams.of`); those that are not searched become
            columns of one value.
        """
        columns = []
        for path, value in hparams.items():
            if path not in self.paths:
                columns.append(Column(path, (value,)))
                continue
            searched = path in self.searched
            # The column of the exponent is the better axis, and TensorBoard shows only five of those that differ.
            columns.append(self._column(path, differs=searched and not self._has_exponent(path)))
            if self._has_exponent(path):
                low, high = self._column(path).values
                columns.append(Column(_exponent_name(path), (math.log10(low), math.log10(high)), True, searched))
        return columns

    def _has_exponent(self, path: str) -> bool:
        entries = self._of(path)
        return any(entry.kind == "float" and entry.sampling == "log" for entry in entries) and all(
            entry.sampling == "log" or (entry.kind == _FIXED and entry.values[0] > 0) for entry in entries
        )

    def _column(self, path: str, differs: bool = False) -> Column:
        entries = self._of(path)
        if self.listed(path):
            values = tuple(dict.fromkeys(value for entry in entries for value in entry.values))
            if self._absent_somewhere(path):
                values = tuple(dict.fromkeys((self._absence(path), *values)))
            return Column(path, values, differs=differs)
        ends = [end for entry in entries for end in (entry.values or (entry.low, entry.high))]
        return Column(path, (min(ends), max(ends)), interval=True, differs=differs)

    def _absent_somewhere(self, path: str) -> bool:
        entries = self._of(path)
        if entries[0].when is None:
            return False
        covered = {value for entry in entries for value in entry.when[1]}
        return not covered.issuperset(self._of(entries[0].when[0])[0].values)

    def _absence(self, path: str) -> bool | int | float | str:
        """What stands in a column where the path is not searched: of the column's type, and outside its domain."""
        entries = self._of(path)
        ends = [end for entry in entries for end in (entry.values or (entry.low, entry.high))]
        if isinstance(ends[0], bool):
            return False
        if isinstance(ends[0], str):
            return "n/a"
        return type(ends[0])(0 if min(ends) > 0 else min(ends) - 1)

    def hparams(self, values: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
        """Returns what a trial's `values` put into the columns, also into those of what it does not search."""
        hparams = {}
        for path in self.paths:
            hparams[path] = values[path] if path in values else self._absence(path)
            if self._has_exponent(path):
                low = self._column(path).values[0]
                hparams[_exponent_name(path)] = (
                    math.log10(values[path]) if path in values else float(math.floor(math.log10(low)) - 1)
                )
        return hparams


def _exponent_name(path: str) -> str:
    return f"log10({path})"


def _combinations(entries, values_of) -> Iterator[dict[str, Any]]:
    """Yields every combination of the values that `values_of` gives for the entries that hold."""
    if not entries:
        yield {}
        return
    for former in _combinations(entries[:-1], values_of):
        if entries[-1].holds(former):
            for value in values_of(entries[-1]):
                yield {**former, entries[-1].path: value}
        else:
            yield former


def parse(config: ConfigDict) -> Space:
    """Returns the search space of a sweep's config, every value in it checked against the model.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    table = config.sweep.get("space")
    if not isinstance(table, ConfigDict) or not len(table):
        raise UserError("config.sweep.space is empty: it must hold what is searched, such as space.model.groups")
    entries: list[Entry] = []
    base = flatten(config)
    for path, entry in _entries(table):
        try:
            entries += _parse_entry(path, entry, table, base)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # written by hand, or with wild values
            message = f"config.sweep.space.{path} is no entry as gnexp.space makes them: {error}"
            raise UserError(" ".join(message.split())) from error
    space = Space(entries)
    if not space.searched:
        raise UserError("config.sweep.space has no entry with more than one value: there is nothing to search")
    if config.sweep.tuner == "hyperband" and "epochs" in space.paths:
        raise UserError("config.sweep.space.epochs is not allowed with hyperband, which chooses the epochs itself")
    _check_together(space, base)
    return space


def _entries(table: ConfigDict, prefix: str = "") -> Iterator[tuple[str, ConfigDict]]:
    for key in table:
        path, value = prefix + key, table[key]
        if path in FIELDS:
            yield path, value
        elif isinstance(value, ConfigDict) and any(field.startswith(f"{path}.") for field in FIELDS):
            yield from _entries(value, f"{path}.")
        else:
            raise UserError(str(unknown_key(path)).replace("config.", "config.sweep.space.", 1))


def _parse_entry(path: str, entry: ConfigDict, table: ConfigDict, base: Mapping[str, Any]) -> list[Entry]:
    where = f"config.sweep.space.{path}"
    if path in _NOT_SEARCHED or path.startswith("sweep."):
        raise UserError(f"{where} is not allowed: {_NOT_SEARCHED.get(path, 'it is no part of a training')}")
    if not isinstance(entry, ConfigDict) or "type" not in entry:
        raise UserError(f"{where}={entry!r} is not allowed: it must be an entry such as gnexp.space.choice(1, 2)")
    role = entry.get("role")
    if role not in ((_FIXED,) if entry.type == _FIXED else ROLES):
        raise UserError(f"{where}.role={role!r} is not allowed: it must be one of {', '.join(ROLES)}")
    if entry.type != "by":
        return [_parse_domain(where, path, role, entry, base[path])]
    parent = entry.parent
    deciding = _parent(where, parent, table, base)
    entries: dict[Entry, tuple] = {}  # with the parent's values that have it in common
    for case, domain in entry.cases.items():
        if not any(FIELDS[parent].accepts(kind(case)) for kind in (str, _number, _truth)):
            raise UserError(f"{where}.cases.{case} is not allowed: config.{parent} must be {FIELDS[parent].allowed}")
        values = tuple(value for value in deciding.values if str(value).lower() == case.lower())
        parsed = dataclasses.replace(_parse_domain(f"{where}.cases.{case}", path, role, domain, base[path]), role=role)
        if values:
            entries[parsed] = entries.get(parsed, ()) + values
    if not entries:
        raise UserError(f"{where}.cases has no case for any value of config.sweep.space.{parent}")
    return [dataclasses.replace(parsed, when=(parent, values)) for parsed, values in entries.items()]


def _parent(where: str, parent: str, table: ConfigDict, base: Mapping[str, Any]) -> Entry:
    entry = dict(_entries(table)).get(parent)
    if not isinstance(entry, ConfigDict) or entry.get("type") not in ("choice", "boolean", _FIXED):
        raise UserError(f"{where}.parent={parent!r} is not allowed: it must be the path of a choice in the space")
    return _parse_entry(parent, entry, table, base)[0]


def _number(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return int(text)
    return text


def _truth(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _parse_domain(where: str, path: str, role: str, entry: ConfigDict, example: Any) -> Entry:
    kind = entry.get("type")
    match kind:
        case "choice":
            values = entry.get("values")
            if isinstance(example, str) and isinstance(values, tuple) and len(values) == 1:
                # So that a shell needs no quotes: --config.sweep.space.optimizer.name.values=adam,sgd
                values = tuple(part.strip() for part in str(values[0]).split(","))
            values = _values(f"{where}.values", values, example)
            # keras-tuner makes 1 and 0 of a choice between true and false.
            parsed = Entry(path, "boolean" if len(values) == 2 and isinstance(values[0], bool) else kind, role, values)
        case "boolean":
            parsed = Entry(path, kind, role, values=(False, True))
        case "fixed":
            parsed = Entry(path, kind, _FIXED, values=_values(f"{where}.value", (entry.get("value"),), example))
        case "int" | "float":
            parsed = _parse_range(where, path, role, entry)
        case _:
            raise UserError(f"{where}.type={kind!r} is not allowed: it must be one of {', '.join(_KINDS)}")
    for value in parsed.checked():
        if not FIELDS[path].accepts(value):
            raise UserError(f"{where} holds {value!r}, which is not allowed: it must be {FIELDS[path].allowed}")
    return parsed


def _values(where: str, values: Any, example: Any) -> tuple:
    if not isinstance(values, tuple) or not values:
        raise UserError(f"{where}={values!r} is not allowed: it must be one value or more, such as 1,2")
    if not all(isinstance(value, (bool, int, float, str)) for value in values):
        raise UserError(f"{where}={values!r} is not allowed: its values must be numbers, words, true or false")
    if isinstance(example, float):
        values = tuple(float(value) if _is_whole(value) else value for value in values)
    if len(set(values)) != len(values) or len({type(value) for value in values}) > 1:
        raise UserError(f"{where}={values!r} is not allowed: its values must be of one type and differ")
    return values


def _parse_range(where: str, path: str, role: str, entry: ConfigDict) -> Entry:
    low, high, step, sampling = (entry.get(key) for key in ("min_value", "max_value", "step", "sampling"))
    number = int if entry.type == "int" else float
    for key, value in {"min_value": low, "max_value": high, "step": step}.items():
        good = _is_whole(value) if number is int else isinstance(value, float) and math.isfinite(value)
        if not good and not (key == "step" and value is None):
            kind = "whole number" if number is int else "number"
            raise UserError(f"{where}.{key}={value!r} is not allowed: it must be a {kind}")
    if sampling not in ("linear", "log"):
        raise UserError(f"{where}.sampling={sampling!r} is not allowed: it must be one of linear, log")
    if not low <= high:
        raise UserError(f"{where}.min_value={low!r} is not allowed: it must be at most max_value={high!r}")
    if sampling == "log" and low <= 0:
        raise UserError(f"{where}.min_value={low!r} is not allowed: with sampling=log it must be above 0")
    if step is not None and step <= (1 if sampling == "log" else 0):
        raise UserError(f"{where}.step={step!r} is not allowed: it must be above {1 if sampling == 'log' else 0}")
    parsed = Entry(path, entry.type, role, low=low, high=high, step=step, sampling=sampling)
    if math.isfinite(parsed.count()) and parsed.count() > _MOST_VALUES:
        raise UserError(f"{where} has {parsed.count():.3g} values: it must have at most {_MOST_VALUES}; raise its step")
    return parsed


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_together(space: Space, base: Mapping[str, Any]) -> None:
    """Checks every combination of the values that have to fit each other."""
    parents = {entry.when[0] for entry in space.entries if entry.when and entry.path in TOGETHER}
    entries = [entry for entry in space.entries if entry.path in TOGETHER or entry.path in parents]
    for values in itertools.islice(_combinations(entries, Entry.checked), 100_000):
        try:
            validate_together({path: value for path, value in {**base, **values}.items() if not is_of_space(path)})
        except UserError as error:
            raise UserError(f"config.sweep.space has combinations that are not allowed: {error}") from error
