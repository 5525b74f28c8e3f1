"""Every key of a config, section by section: what it may hold, and what it does.

`docs/configs.md` has this as a table, which `make docs` writes.
"""

import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.config.fields import (
    Field,
    Kind,
    boolean,
    choice,
    fraction,
    integer,
    is_integer,
    is_number,
    non_negative,
    positive,
)
from gnexp.config.groups import FITS
from gnexp.config.objective import OBJECTIVES

BACKENDS = ("tensorflow", "jax")
FALLBACKS = ("fashion_mnist", "digits")  # datasets without arguments that the configs of experiments are made for
NORMS = ("group", "batch", "layer", "instance", "instance_scalar", "none", "frozen_batch", "ghost_batch", "keep")
EXECUTORS = ("serial", "processes", "ray")
TUNERS = ("random", "grid", "bayesian", "hyperband")

# The names of a sweep's trials have four digits.
_MOST_TRIALS = 9999
_NETWORKS, _DATASETS = open_sections.SECTIONS["model"], open_sections.SECTIONS["data"]
_ONE_DATASET = _DATASETS.not_searched
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _is_part(value: Any) -> bool:
    return (is_integer(value) and value >= 1) or (is_number(value) and 0 < value < 1)


def _is_validation(value: Any) -> bool:
    return value == "test" or _is_part(value)


def in_bytes(value: Any) -> int | None:
    """Returns how many bytes a value such as 2000000000 or "2GB" stands for; None if it stands for none."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?I?B?)", str(value).strip().upper(), re.ASCII)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not found or found[2] not in _UNITS:
        return None
    return int(float(found[1]) * _UNITS[found[2]])


def _is_memory(value: Any) -> bool:
    return value == "" or bool(in_bytes(value))


def _is_share(value: Any) -> bool:
    return is_number(value) and value >= 0 and (value < 1 or value == int(value))


_TRAINING = {
    "seed": Field(
        integer(0, 2**32 - 1),
        "seed of the weights, of dropout and of the order of the images",
        not_searched="config.sweep.executions says how many seeds each trial has",
    ),
    "epochs": Field(integer(1), "passes over the training images"),
    "objective": Field(
        choice(*OBJECTIVES),
        "the figure that chooses the best epoch and, in a sweep, the best trial",
        not_searched="a sweep has one objective",
    ),
    "deterministic": Field(
        boolean(),
        "on a CPU, the same figures to the last bit in every run",
        not_searched="it holds for a whole process",
    ),
    "precision": Field(choice("float32", "mixed_float16", "mixed_bfloat16"), "the layers' dtype policy"),
    "jit_compile": Field(boolean(), "compile with XLA on TensorFlow, for GPUs; JAX always does"),
    "native": Field(boolean(), "compute the norms by the C++ kernel where there is one"),
}

_DATA = {
    "data.name": Field(Kind(_DATASETS.accepts, _DATASETS.allowed), "the dataset", not_searched=_ONE_DATASET),
    "data.args": Field(
        Kind(lambda value: isinstance(value, (Mapping, ConfigDict)), "a section of the dataset's keyword arguments"),
        "the dataset's arguments, each a key of its own ([data.md](data.md))",
        not_searched=_ONE_DATASET,
        default={},
    ),
    "data.fallback": Field(
        choice("", *FALLBACKS),
        "the dataset to use where `data.name` is not available; '' makes that an error",
        not_searched=_ONE_DATASET,
        may_change=True,
        shown=False,
    ),
    "data.directory": Field(
        Kind(lambda value: isinstance(value, str), "the path of a folder, or ''"),
        "where the files of Keras's datasets are; '' looks in $GNEXP_DATA_DIR and Keras's cache, and downloads them",
        not_searched=_ONE_DATASET,
        may_change=True,
        shown=False,
    ),
    "data.batch_size": Field(integer(1), "images in a training step"),
    "data.train_size": Field(
        integer(0),
        "train only on the first images, as many as this; 0 takes all",
        not_searched="all trials share one dataset",
    ),
    "data.validation": Field(
        Kind(_is_validation, "a fraction between 0 and 1, a count of 1 or more, or 'test'"),
        "how many of the training images are held out, or 'test' to validate on the test images",
        not_searched="trials could not be compared",
    ),
    "data.test": Field(
        Kind(_is_part, "a fraction between 0 and 1, or a count of 1 or more"),
        "how many images are held out for the test, where the data has no test images of its own",
        not_searched="trials could not be compared",
        shown=False,
        default=0.2,
    ),
    "data.split_seed": Field(
        integer(-1, 2**32 - 1),
        "seed of what is held out, a share of each class; -1 holds out the last images instead, as `fashion_mnist` and "
        "`digits` always do",
        not_searched="trials could not be compared",
        shown=False,
        default=0,
    ),
    "data.memory": Field(
        Kind(_is_memory, "bytes, such as 2000000000 or '2GB', or '' for a fourth of what there is"),
        "data that takes more than this is read while the network trains",
        not_searched=_ONE_DATASET,
        may_change=True,
        shown=False,
        default="",
    ),
}

_GROUP = ("model.norm", ("group",))
_NORMS_OF_BATCHES = ("batch", "ghost_batch")
_MODEL = {
    "model.name": Field(
        Kind(_NETWORKS.accepts, _NETWORKS.allowed), "the network", not_searched="a sweep has one network", default="cnn"
    ),
    "model.args": Field(
        Kind(lambda value: isinstance(value, (Mapping, ConfigDict)), "a section of the network's keyword arguments"),
        "the network's arguments, each a key of its own ([models.md](models.md)); what is not given has its default",
        default={},
    ),
    "model.norm": Field(choice(*NORMS), "the normalization"),
    "model.groups": Field(
        Kind(lambda value: is_integer(value) and (value >= 1 or value == -1), "1 or more, or -1"),
        "groups of `group`, which must divide the channels of every norm; -1 is a group per channel",
        matters=_GROUP,
    ),
    "model.groups_fit": Field(
        choice(*FITS),
        "`exact`, or `gcd` for the greatest common divisor with the channels where the number does not divide them",
        default="exact",
        matters=_GROUP,
    ),
    "model.channels_per_group": Field(
        integer(0), "channels in a group of `group`, instead of `model.groups`; 0 is off", default=0, matters=_GROUP
    ),
    "model.epsilon": Field(
        positive(),
        "epsilon of the normalization",
        matters=("model.norm", tuple(norm for norm in NORMS if norm not in ("none", "keep"))),
    ),
    "model.momentum": Field(
        fraction(),
        "momentum of the moving averages of `batch` and `ghost_batch`",
        default=0.99,
        matters=("model.norm", _NORMS_OF_BATCHES),
    ),
    "model.virtual_batch_size": Field(
        integer(1),
        "`ghost_batch`: images that share their statistics",
        default=32,
        matters=("model.norm", ("ghost_batch",)),
    ),
    "model.weight_standardization": Field(
        boolean(), "standardize the kernels of the convolutions (Qiao et al.)", default=False
    ),
}

_SGD, _ADAMW = ("optimizer.name", ("sgd",)), ("optimizer.name", ("adamw",))
_PLATEAU, _COSINE = ("schedule.name", ("plateau",)), ("schedule.name", ("cosine",))
_OPTIMIZER = {
    "optimizer.name": Field(choice("adam", "amsgrad", "adamw", "sgd", "rmsprop", "lion"), "the optimizer"),
    "optimizer.learning_rate": Field(positive(), "the learning rate; the peak of `cosine`"),
    "optimizer.momentum": Field(fraction(), "momentum of `sgd`", matters=_SGD),
    "optimizer.nesterov": Field(boolean(), "Nesterov momentum of `sgd`", matters=_SGD),
    "optimizer.weight_decay": Field(non_negative(), "weight decay of `adamw`", matters=_ADAMW),
    "optimizer.decay_norms": Field(
        boolean(),
        "whether weight decay also applies to biases and to the norms' gamma and beta",
        default=True,
        matters=_ADAMW,
    ),
    "schedule.name": Field(choice("constant", "cosine", "plateau"), "the learning-rate schedule"),
    "schedule.warmup_epochs": Field(
        non_negative(), "epochs in which `cosine` rises from 0 to its peak", matters=_COSINE
    ),
    "schedule.factor": Field(
        Kind(lambda value: is_number(value) and 0 < value < 1, "a number between 0 and 1"),
        "what `plateau` multiplies the learning rate by",
        matters=_PLATEAU,
    ),
    "schedule.patience": Field(integer(1), "epochs without a lower val_loss before `plateau` acts", matters=_PLATEAU),
    "schedule.min_learning_rate": Field(
        non_negative(),
        "the lowest learning rate of `plateau` and `cosine`",
        matters=("schedule.name", ("plateau", "cosine")),
    ),
}

_OF_A_SWEEP = "it is not part of a training"
# gnexp/space/parse.py checks the table `sweep.space`.
_SWEEP = {
    "sweep.tuner": Field(choice(*TUNERS), "how keras-tuner chooses the trials", _OF_A_SWEEP),
    "sweep.max_trials": Field(integer(1, _MOST_TRIALS), "the number of trials, at most", _OF_A_SWEEP, may_change=True),
    "sweep.executions": Field(
        integer(1, 1000), "trainings of each trial, with the seeds `seed`, `seed` + 1 and so on", _OF_A_SWEEP
    ),
    "sweep.max_failures": Field(
        integer(1), "the sweep stops if its first trials, as many as this, all fail", _OF_A_SWEEP, may_change=True
    ),
    "sweep.seed": Field(integer(0, 2**31 - 1), "seed of the tuner", _OF_A_SWEEP),
    "sweep.factor": Field(integer(2), "`hyperband`: each round keeps one trial in `factor`", _OF_A_SWEEP),
    "sweep.executor": Field(choice(*EXECUTORS), "where trials run", _OF_A_SWEEP, may_change=True),
    "sweep.parallel": Field(integer(1, 1000), "trials at a time", _OF_A_SWEEP, may_change=True),
    "sweep.resources.cpus": Field(integer(1), "`ray`: processors of each trial", _OF_A_SWEEP, may_change=True),
    "sweep.resources.gpus": Field(
        Kind(_is_share, "a whole number of 0 or more, or a fraction of one GPU such as 0.5"),
        "`ray`: GPUs of each trial",
        _OF_A_SWEEP,
        may_change=True,
    ),
}

FIELDS: Mapping[str, Field] = {**_TRAINING, **_DATA, **_MODEL, **_OPTIMIZER, **_SWEEP}


def field(path: str, named: Mapping[str, Any]) -> Field | None:
    """Returns the field of a dotted path, or None if there is no such key.

    Args:
      path: a key of `FIELDS`, or an argument in an open section.
      named: a flat config, or at least the names of its open sections.
    """
    return open_sections.field(path, named) if open_sections.of(path) else FIELDS.get(path)


def is_key(path: str) -> bool:
    """Tells whether a dotted path may be a key of some config: one of `FIELDS`, or an argument in an open section."""
    return path in FIELDS or open_sections.of(path) is not None
