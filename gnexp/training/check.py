"""Checks of a network before the first step of the first trial: it builds, its norms fit, one batch goes through."""

import dataclasses
import itertools
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict

from gnexp.config import groups, open_sections
from gnexp.config.paths import SPACE, flatten
from gnexp.data import stream
from gnexp.data.splits import Split, Splits
from gnexp.errors import FunctionError, UserError
from gnexp.functions import load
from gnexp.group_normalization import GroupNormalization
from gnexp.models import saved
from gnexp.models.build import build, remember, with_norm
from gnexp.norms import table, weight_standardization
from gnexp.norms.by_name import Norm
from gnexp.space.domain import Entry
from gnexp.space.space import Space, combine
from gnexp.tasks.create import create
from gnexp.tasks.pictures import Picture
from gnexp.tasks.task import Task, each_loss
from gnexp.training import backend, gradients, memory, own_code
from gnexp.training.augment import Augment
from gnexp.workdir import code

_MOST_COMBINATIONS = 10_000
_MOST_NETWORKS = 50  # that are built, of those that a sweep may train
_MOST_NAMED = 5
_SCOPE = re.compile(r"[A-Za-z0-9_.\\/>-]*")
_OF_GROUPS = ("group", "layer", "instance")


def check(config: ConfigDict, splits: Splits, space: Space | None = None) -> keras.Model:
    """Checks the networks of a training, or of all trials of a sweep.

    Args:
      config: of the training or the sweep.
      splits: its dataset.
      space: the sweep's search space.

    Returns:
      The network of the training, or of one of the trials; its weights are of no use.

    Raises:
      FunctionError: a network does not build, or cannot take a batch; with the first cause, its file and its line.
      UserError: a number of groups does not fit the channels of a norm.
      MemoryTooSmallError: a training would not fit into memory.
    """
    backend.choose_threads(config, splits.input_shape)
    backend.prepare(config.deterministic)
    task = create(config, splits)
    first = None
    try:
        for trial, channels in _networks(config, space, splits, task):
            first = first or trial
            _check_groups(trial, channels)
    except UserError as error:
        if space is None:
            raise
        raise UserError(f"config.{SPACE} has combinations that are not allowed: {error}") from error
    except FunctionError as error:
        if splits.without_channels and ":" not in config.model.name:
            raise FunctionError(f"{error}{splits.without_channels}") from error
        raise
    for each in memory.largest(config):
        memory.check(each, splits, task.outputs)
    backend.reset_names()
    with memory.in_one_line():
        notes: list[str] = []
        model = build(first.model, splits.input_shape, task.outputs, first.precision, splits.input_dtype, notes)
        for note in notes:
            print(f"gnexp: note: {note}", file=sys.stderr, flush=True)
        _check_names(model, config.model.name)
        few = _few(splits.train, task.outputs.count)
        if ":" in config.model.name:
            saved.check(model, load.modules(code.of(config)), config.model.name)
        with load.users_code(f"config.model.name={config.model.name!r} cannot take a batch", MemoryError):
            model(few.inputs, training=False)
            outputs = gradients.outputs(model, few.inputs, config.model.name)
        backend.reset_names()
        _check_task(config, task, splits, few, outputs)
        augment = Augment(first, splits, task)
        if config.jit_compile and keras.backend.backend() == "tensorflow":
            _lower(model, task, augment, few)
    return model


def _check_names(model: keras.Model, name: str) -> None:
    """Refuses names of layers that TensorFlow does not allow, which it would say only in the first step."""
    wrong = [layer.name for layer in model._flatten_layers() if not _SCOPE.fullmatch(layer.name)]
    if wrong and keras.backend.backend() == "tensorflow":
        raise FunctionError(
            f"config.model.name={name!r} has a layer named {wrong[0]!r}, which TensorFlow does not allow: a name may "
            "have letters, digits, '_', '.', '/', '>' and '-'"
        )


def _few(split: Split, outputs: int) -> Split:
    """Returns two examples, with different targets if that is easily seen: some figures need two classes.

    Of two outputs, they are three: two examples might be taken for what they are not.
    """
    second = min(1, len(split) - 1)
    if isinstance(split.targets, np.ndarray) and split.targets.ndim == 1:
        second = int((split.targets != split.targets[0]).argmax()) or second
    most = 3 if outputs == 2 else 2
    rows = list(dict.fromkeys((0, second, *range(min(most, len(split))))))[:most]
    return next(stream.batches(split, np.array([rows], np.int32)))


def _check_task(config: ConfigDict, task: Task, splits: Splits, few: Split, outputs: Any) -> None:
    """Computes loss and figures of a few examples; raises FunctionError where they are not as they must be."""
    what = f"config.task.loss={config.task.loss!r}" if config.task.loss else f"config.task.name={config.task.name!r}"
    with load.users_code(f"{what} cannot take a batch"):
        _check_shape(tuple(task.loss(few.targets, outputs).shape), len(few), tuple(outputs.shape))
        numbers = task.numbers(few.targets, outputs)
        gradients.trace(lambda *each: each_loss(task.loss(*each), len(few)), few.targets, outputs)
        if wrong := [name for name in task.counted if name not in numbers or tuple(numbers[name].shape) != (len(few),)]:
            raise ValueError(f"numbers() must return {wrong[0]!r} for each example, with the shape ({len(few)},)")
        if ":" in config.task.loss + config.task.name:
            own_code.refuse_spread(task, few.targets, tuple(outputs.shape))
    if ":" in config.task.name:
        _check_own(config, task, splits, few, keras.ops.convert_to_numpy(outputs))
    own_code.measure(task, config.task.figures, few, keras.ops.convert_to_numpy(outputs), splits.validation)


def _check_own(config: ConfigDict, task: Task, splits: Splits, few: Split, outputs: np.ndarray) -> None:
    """Asks a task of the user's for its weights and pictures; raises FunctionError where they cannot be used."""
    what, count = f"config.task.name={config.task.name!r}", len(splits.train)
    with load.users_code(f"{what} fails"):
        weights, pictures = task.weights(splits.train), list(task.pictures(few, outputs))
    if weights is not None and (np.shape(weights) != (count,) or getattr(weights, "dtype", None) != np.float32):
        kind = getattr(weights, "dtype", type(weights).__name__)
        raise FunctionError(
            f"{what}: weights() returned {kind} of the shape {np.shape(weights)}: it must be None, or float32 of the "
            f"shape ({count},)"
        )
    for each in pictures:
        if not isinstance(each, tuple) or len(each) != 2 or not isinstance(each[1], Picture):
            raise FunctionError(
                f"{what}: pictures() yielded {each!r:.80}: it must yield a tag and a gnexp.tasks.pictures.Picture"
            )


def _check_shape(loss: tuple[int, ...], count: int, outputs: tuple[int, ...]) -> None:
    """Refuses a loss that is not one for each example, or for each of its parts, or one for the batch."""
    if loss and loss[0] != count:
        raise ValueError(f"the loss has the shape {loss}, not ({count},), one for each example")
    if len(loss) > len(outputs) or (count in loss[1:] and count not in outputs[1:]):
        raise ValueError(
            f"the loss has the shape {loss} for {count} examples: targets and outputs of other shapes were spread over "
            "each other; write targets[:, None], or outputs[:, 0]"
        )


def _lower(model: keras.Model, task: Task, augment: Augment, few: Split) -> None:
    """Translates a step for XLA without compiling it; raises FunctionError if XLA lacks one of its operations."""
    import tensorflow as tf

    def gradients(inputs: tf.Tensor, targets: tf.Tensor) -> list[tf.Tensor]:
        if augment:
            inputs, targets = augment(inputs, targets)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(task.loss(targets, model(inputs, training=True)))
        return tape.gradient(loss, model.trainable_weights)

    examples = tf.convert_to_tensor(few.inputs), tf.convert_to_tensor(few.targets)
    compiled = tf.function(gradients, autograph=False, jit_compile=True)
    try:
        compiled.experimental_get_compiler_ir(*examples)(stage="hlo")
    except (tf.errors.OpError, ValueError) as error:
        lacking = re.findall(r"(\w+) \(No registered", str(error))
        why = f"XLA has no {', '.join(dict.fromkeys(lacking))}" if lacking else load.cause(error)
        raise FunctionError(
            f"config.jit_compile=True is not allowed, for the network, its loss or config.data.augment: {why}"
        ) from error


@dataclasses.dataclass(frozen=True)
class _Channels:
    """A norm of a network: its path, its channels, and at how many positions of an image it has them."""

    path: str
    channels: int
    positions: int | None


def _networks(
    config: ConfigDict, space: Space | None, splits: Splits, task: Task
) -> Iterator[tuple[ConfigDict, list[_Channels]]]:
    """Yields the config of each network that may be trained, with its norms."""
    if space is None:
        yield config, _channels(config, splits, task)
        return
    built: dict[str, list[_Channels]] = {}
    parents = {entry.when[0] for entry in space.entries if entry.when and entry.path.startswith("model.")}
    entries = [entry for entry in space.entries if entry.path.startswith("model.") or entry.path in parents]
    for values in itertools.islice(combine(entries, Entry.checked), _MOST_COMBINATIONS):
        trial = space.config(config, values)
        args = repr(sorted(flatten(trial.model.args).items()))
        if args not in built:
            if len(built) == _MOST_NETWORKS:
                continue
            built[args] = _channels(trial, splits, task)
        yield trial, built[args]


def _channels(config: ConfigDict, splits: Splits, task: Task) -> list[_Channels]:
    """Builds a network without its weights, with a norm that fits any channels, and returns its norms."""
    probe = None if config.model.norm == "keep" else Norm("layer")
    # A module may load weights as it is imported, which the scope would lose.
    load.load(open_sections.function("model", config.model.name))
    with keras.StatelessScope(initialize_variables=False):
        shape, dtype = splits.input_shape, splits.input_dtype
        model = with_norm(config.model, shape, task.outputs, config.precision, probe, dtype)
        # The network's own norms stay as they are.
        made = {path for path, layer in table.walk(model) if isinstance(layer, GroupNormalization)}
        found = [row for row in table.rows(model) if row.path in made]
    remember(model)
    return [
        _Channels(row.path, row.channels, row.values_per_group and row.values_per_group // row.channels)
        for row in found
        if row.channels
    ]


def _check_groups(config: ConfigDict, found: list[_Channels]) -> None:
    """Refuses a number of groups that does not fit the channels of a norm, with those that fit all."""
    section = config.model
    if section.norm not in _OF_GROUPS:
        return
    asked = {"layer": (1, "exact", 0), "instance": (-1, "exact", 0)}.get(
        section.norm, (section.groups, section.groups_fit, section.channels_per_group)
    )
    wrong, single = [], []
    for norm in found:
        try:
            count = groups.count(norm.channels, *asked)
        except ValueError:
            wrong.append(norm)
            continue
        if norm.positions and norm.channels // count * norm.positions == 1:
            single.append(norm)
    key = f"config.model.norm={section.norm!r}"
    if section.norm == "group":
        key = "config.model." + (f"channels_per_group={asked[2]}" if asked[2] else f"groups={asked[0]}")
    of = f"{len(wrong or single)} of the {len(found)} norms of {section.name!r}: {_named(wrong or single)}"
    if wrong:
        fitting = groups.in_words(math.gcd(*(norm.channels for norm in found)))
        raise UserError(
            f"{key} does not divide the channels of {of}; it must be one of {fitting}, which divide all; or add "
            "--config.model.groups_fit=gcd"
        )
    if single:
        raise UserError(
            f"{key} would normalize each value by itself, so that the output is the same for every input, in {of}; "
            "choose fewer groups, or another norm"
        )


def _named(norms: list[_Channels]) -> str:
    named = ", ".join(f"{norm.path} ({norm.channels} channels)" for norm in norms[:_MOST_NAMED])
    return named + (f" and {len(norms) - _MOST_NAMED} more" if len(norms) > _MOST_NAMED else "")


def in_words(model: keras.Model, config: ConfigDict) -> str:
    """Returns a network in one line: its name, its parameters and, for a sweep, the norms of one of its trials."""
    norms = f"; in one trial {table.summary(table.rows(model))}" if "sweep" in config else ""
    standardized = f"; {weight_standardization.in_words(model)}" if config.model.weight_standardization else ""
    return f"{config.model.name}, {model.count_params():,} parameters{norms}{standardized}"
