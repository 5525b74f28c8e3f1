"""Every key of a config, section by section: what it may hold, and what it does.

`docs/configs.md` has this as a table, which `make docs` writes.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gnexp.config import augment, open_sections
from gnexp.config.data_keys import DATA
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
from gnexp.config.objective import DIRECTIONS
from gnexp.config.task_keys import FIGURE, TASK

BACKENDS = ("tensorflow", "jax")
NORMS = ("group", "batch", "layer", "instance", "instance_scalar", "none", "frozen_batch", "ghost_batch", "keep")
EXECUTORS = ("serial", "processes", "ray")
TUNERS = ("random", "grid", "bayesian", "hyperband", "racing")

# The names of a sweep's trials have four digits.
_MOST_TRIALS = 9999
_NETWORKS = open_sections.SECTIONS["model"]


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
        FIGURE,
        "the figure that chooses the best epoch and, in a sweep, the best trial: `val_loss`, or `val_` and one of the "
        "task's ([tasks.md](tasks.md))",
        not_searched="a sweep has one objective",
    ),
    "direction": Field(
        choice("", *DIRECTIONS),
        "whether a higher objective is better, where gnexp does not know it: of a figure of your own",
        not_searched="a sweep has one objective",
        default="",
    ),
    "patience": Field(
        integer(0), "end a training after as many epochs without a better objective; 0 is off", default=0
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
        Kind(lambda value: is_integer(value) and (value >= 1 or value == -1), "a whole number of 1 or more, or -1"),
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
    "schedule.patience": Field(
        integer(1), "epochs without a better `schedule.watch` before `plateau` acts", matters=_PLATEAU
    ),
    "schedule.watch": Field(
        FIGURE, "the figure that `plateau` looks at, as for `objective`", default="val_loss", matters=_PLATEAU
    ),
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
    "sweep.max_trials": Field(
        integer(1, _MOST_TRIALS),
        "the number of trials, at most; those of `racing` that continue another do not count",
        _OF_A_SWEEP,
        may_change=True,
    ),
    "sweep.own_first": Field(
        boolean(),
        "whether the first trial has the config's own values, with which all is compared",
        _OF_A_SWEEP,
        default=False,
    ),
    "sweep.executions": Field(
        integer(1, 1000),
        "trainings of each trial, with the seeds `seed`, `seed` + 1 and so on; `racing`: at most",
        _OF_A_SWEEP,
    ),
    "sweep.max_epochs": Field(
        integer(0),
        "`racing`: ends before it trains more epochs than these, all trainings together; 0 is no limit",
        _OF_A_SWEEP,
        may_change=True,
        default=0,
    ),
    "sweep.max_seconds": Field(
        non_negative(),
        "`racing`: begins no training after as many seconds of training, those side by side added up; 0 is no limit",
        _OF_A_SWEEP,
        may_change=True,
        default=0.0,
    ),
    "sweep.precision": Field(
        positive(),
        "`racing`: a difference of the objective that is too small to matter",
        _OF_A_SWEEP,
        may_change=True,
        default=0.01,
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

FIELDS: Mapping[str, Field] = {**_TRAINING, **DATA, **TASK, **_MODEL, **_OPTIMIZER, **_SWEEP}


def field(path: str, named: Mapping[str, Any]) -> Field | None:
    """Returns the field of a dotted path, or None if there is no such key.

    Args:
      path: a key of `FIELDS`, or an argument in an open section.
      named: a flat config, or at least the names of its open sections.
    """
    if augment.of(path):
        return augment.field(path)
    return open_sections.field(path, named) if open_sections.of(path) else FIELDS.get(path)


def is_key(path: str) -> bool:
    """Tells whether a dotted path may be a key of some config: one of `FIELDS`, or an argument in an open section."""
    return path in FIELDS or open_sections.of(path) is not None or augment.of(path) is not None
