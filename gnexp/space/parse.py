"""Reads a search space from a sweep's config, and checks every value in it."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config import augment, open_sections
from gnexp.config.fields import is_integer, is_number
from gnexp.config.paths import SPACE, flatten, is_of_space
from gnexp.config.schema import FIELDS, field
from gnexp.config.validation import TOGETHER, check_keys, unknown_key, validate_together
from gnexp.errors import UserError
from gnexp.space.domain import Entry
from gnexp.space.entries import FIXED, ROLES
from gnexp.space.space import Space, combine

_KINDS = ("choice", "int", "float", "boolean", FIXED)
_MOST_VALUES = 10**6


def parse_space(config: ConfigDict) -> Space:
    """Returns the search space of a sweep's config, after checking every value in it.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    table = config.sweep.get("space")
    if isinstance(table, ConfigDict):
        check_keys(table, f"config.{SPACE}")
    if not isinstance(table, ConfigDict) or not len(table):
        raise UserError("config.sweep.space is empty: it must hold what is searched, such as space.model.groups")
    entries: list[Entry] = []
    base = flatten(config)
    for path, entry in _entries(table, base):
        entries += _parse_entry(path, entry, table, base)
    space = Space(entries)
    if not space.searched:
        raise UserError("config.sweep.space has no entry with more than one value: there is nothing to search")
    if config.sweep.tuner in ("hyperband", "racing") and "epochs" in space.paths:
        raise UserError(
            f"config.sweep.space.epochs is not allowed with {config.sweep.tuner}, which chooses the epochs itself"
        )
    _check_together(space, base)
    return space


def _entries(table: ConfigDict, base: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ConfigDict]]:
    for key in table:
        path, value = prefix + key, table[key]
        if argument := open_sections.of(path):
            section, name = argument[0], base.get(f"{argument[0]}.name")
            known = open_sections.known(section, name)
            open_sections.check_there(f"config.{SPACE}.{path}", section, name, argument[1], known)
            yield path, value
        elif augment.of(path):
            if field(path, base) is None:
                raise unknown_key(path, f"config.{SPACE}")
            yield path, value
        elif path in FIELDS and not open_sections.is_whole(path):
            yield path, value
        elif isinstance(value, ConfigDict) and any(
            known.startswith(f"{path}.") or open_sections.is_whole(path) or augment.is_layer(path) for known in FIELDS
        ):
            yield from _entries(value, base, f"{path}.")
        else:
            raise unknown_key(path, f"config.{SPACE}")


def _parse_entry(path: str, entry: ConfigDict, table: ConfigDict, base: Mapping[str, Any]) -> list[Entry]:
    where = f"config.sweep.space.{path}"
    if why := field(path, base).not_searched:
        raise UserError(f"{where} is not allowed: {why}")
    _check_shape(where, entry)
    role = entry.get("role")
    if role not in ((FIXED,) if entry.type == FIXED else ROLES):
        raise UserError(f"{where}.role={role!r} is not allowed: it must be one of {', '.join(ROLES)}")
    if entry.type != "by":
        return [_parse_domain(where, path, role, entry, base)]
    parent = entry.parent
    deciding = _parent(where, parent, table, base)
    entries: dict[Entry, tuple] = {}  # each with the parent's values that share it
    for case, domain in entry.cases.items():
        if not any(field(parent, base).accepts(kind(case)) for kind in (str, _number, _truth)):
            allowed = field(parent, base).allowed
            raise UserError(f"{where}.cases.{case} is not allowed: config.{parent} must be {allowed}")
        values = tuple(value for value in deciding.values if str(value).lower() == case.lower())
        parsed = dataclasses.replace(_parse_domain(f"{where}.cases.{case}", path, role, domain, base), role=role)
        if values:
            entries[parsed] = entries.get(parsed, ()) + values
    if not entries:
        raise UserError(f"{where}.cases has no case for any value of config.sweep.space.{parent}")
    return [dataclasses.replace(parsed, when=(parent, values)) for parsed, values in entries.items()]


def _check_shape(where: str, entry: Any) -> None:
    """Refuses an entry written by hand that lacks a part which the functions of `gnexp.space.entries` add."""
    if not isinstance(entry, ConfigDict) or not isinstance(entry.get("type"), str):
        raise UserError(f"{where}={_shown(entry)} is not allowed: it must be an entry such as gnexp.space.choice(1, 2)")
    if entry.type != "by":
        return
    if not isinstance(entry.get("parent"), str):
        raise UserError(f"{where}.parent={entry.get('parent')!r} is not allowed: it must be the path of a choice")
    cases = entry.get("cases")
    if not isinstance(cases, ConfigDict) or not all(isinstance(domain, ConfigDict) for domain in cases.values()):
        raise UserError(f"{where}.cases={_shown(cases)} is not allowed: it must hold an entry for each case")


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())


def _parent(where: str, parent: str, table: ConfigDict, base: Mapping[str, Any]) -> Entry:
    entry = dict(_entries(table, base)).get(parent)
    if not isinstance(entry, ConfigDict) or entry.get("type") not in ("choice", "boolean", FIXED):
        raise UserError(f"{where}.parent={parent!r} is not allowed: it must be the path of a choice in the space")
    return _parse_entry(parent, entry, table, base)[0]


def _number(text: str) -> int | str:
    with contextlib.suppress(ValueError):
        return int(text)
    return text


def _truth(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)


def _parse_domain(where: str, path: str, role: str, entry: ConfigDict, base: Mapping[str, Any]) -> Entry:
    kind, example = entry.get("type"), base.get(path)
    match kind:
        case "choice":
            values = entry.get("values")
            if isinstance(example, str) and isinstance(values, tuple) and len(values) == 1:
                # So that a shell needs no quotes: --config.sweep.space.optimizer.name.values=adam,sgd
                values = tuple(part.strip() for part in str(values[0]).split(","))
            values = _values(f"{where}.values", values, example)
            # keras-tuner would turn a choice between true and false into 1 and 0.
            parsed = Entry(path, "boolean" if len(values) == 2 and isinstance(values[0], bool) else kind, role, values)
        case "boolean":
            parsed = Entry(path, kind, role, values=(False, True))
        case "fixed":
            parsed = Entry(path, kind, FIXED, values=_values(f"{where}.value", (entry.get("value"),), example))
        case "int" | "float":
            parsed = _parse_range(where, path, role, entry)
        case _:
            raise UserError(f"{where}.type={kind!r} is not allowed: it must be one of {', '.join(_KINDS)}")
    for value in parsed.checked():
        if not field(path, base).accepts(value):
            raise UserError(f"{where} holds {value!r}, which is not allowed: it must be {field(path, base).allowed}")
    return parsed


def _values(where: str, values: Any, example: Any) -> tuple:
    if not isinstance(values, tuple) or not values:
        raise UserError(f"{where}={values!r} is not allowed: it must be one value or more, such as 1,2")
    if not all(isinstance(value, (bool, int, float, str)) for value in values):
        raise UserError(f"{where}={values!r} is not allowed: its values must be numbers, words, true or false")
    if isinstance(example, float):
        values = tuple(float(value) if is_integer(value) and is_number(value) else value for value in values)
    if len(set(values)) != len(values) or len({type(value) for value in values}) > 1:
        raise UserError(f"{where}={values!r} is not allowed: its values must be of one type and differ")
    return values


def _parse_range(where: str, path: str, role: str, entry: ConfigDict) -> Entry:
    low, high, step, sampling = (entry.get(key) for key in ("min_value", "max_value", "step", "sampling"))
    number = int if entry.type == "int" else float
    for key, value in {"min_value": low, "max_value": high, "step": step}.items():
        good = (is_integer(value) if number is int else isinstance(value, float)) and is_number(value)
        if not good and not (key == "step" and value is None):
            kind = "whole number" if number is int else "number"
            raise UserError(f"{where}.{key}={value!r} is not allowed: it must be a {kind}, -1e30 to 1e30")
    if sampling not in ("linear", "log"):
        raise UserError(f"{where}.sampling={sampling!r} is not allowed: it must be one of linear, log")
    if not low <= high:
        raise UserError(f"{where}.min_value={low!r} is not allowed: it must be at most max_value={high!r}")
    if sampling == "log" and low <= 0:
        raise UserError(f"{where}.min_value={low!r} is not allowed: with sampling=log it must be above 0")
    if step is not None and step <= (1 if sampling == "log" else 0):
        raise UserError(f"{where}.step={step!r} is not allowed: it must be above {1 if sampling == 'log' else 0}")
    parsed = Entry(path, entry.type, role, low=low, high=high, step=step, sampling=sampling)
    if (number is int or step is not None) and parsed.count() > _MOST_VALUES:
        raise UserError(f"{where} has {parsed.count():.3g} values: it must have at most {_MOST_VALUES}; raise its step")
    return parsed


def _check_together(space: Space, base: Mapping[str, Any]) -> None:
    """Checks every combination of the values that must fit together."""
    parents = {entry.when[0] for entry in space.entries if entry.when and entry.path in TOGETHER}
    entries = [entry for entry in space.entries if entry.path in TOGETHER or entry.path in parents]
    fixed = {path: value for path, value in base.items() if not is_of_space(path)}
    for values in itertools.islice(combine(entries, Entry.checked), 100_000):
        try:
            validate_together({**fixed, **values})
        except UserError as error:
            raise UserError(f"config.sweep.space has combinations that are not allowed: {error}") from error
