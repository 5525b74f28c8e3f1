"""The entries of a search space, as a config writes them.

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

The terms are keras-tuner's (choice, int, float, boolean, fixed; min_value, max_value, step, sampling). The roles are
those of Google's Deep Learning Tuning Playbook: a scientific hyperparameter is what the sweep asks about, a nuisance
one must be optimized for a fair answer, a fixed one stays constant.
"""

import copy

import numpy as np
from ml_collections import ConfigDict, config_dict

SCIENTIFIC = "scientific"
ROLES = (SCIENTIFIC, "nuisance")
FIXED = "fixed"


def choice(*values: bool | int | float | str, role: str = "scientific") -> ConfigDict:
    """Returns an entry that takes one of `values`, which may be numbers of NumPy."""
    plain = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    return ConfigDict({"type": "choice", "values": plain, "role": role})


def integers(
    min_value: int, max_value: int, step: int | None = None, sampling: str = "linear", role: str = "scientific"
) -> ConfigDict:
    """Returns an entry of whole numbers from `min_value` to `max_value`, both included.

    Args:
      min_value: the lowest.
      max_value: the highest.
      step: the difference between neighbouring numbers, or their ratio if `sampling` is "log".
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
    # A flag needs to know the type, which a placeholder keeps. `parse_space` refuses a step of another type.
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
    return ConfigDict({"type": FIXED, "value": value, "role": FIXED})


def by(parent: str, role: str = "scientific", **cases: ConfigDict) -> ConfigDict:
    """Returns an entry whose domain depends on the value of another hyperparameter.

    Args:
      parent: the other's dotted path; it must be a choice or a boolean that does not itself depend on another, and
        whose values have no dots, as fractions do.
      role: "scientific" or "nuisance".
      **cases: the entry for each of the parent's values. For a value without an entry, nothing is searched and the
        config's own value is used.
    """
    # Copies, because the cases may share one object. Only a deep copy keeps the type of a step that is not given.
    domains = {value: copy.deepcopy(entry) for value, entry in cases.items()}
    for domain in domains.values():
        del domain["role"]
    return ConfigDict({"type": "by", "parent": parent, "cases": domains, "role": role})
