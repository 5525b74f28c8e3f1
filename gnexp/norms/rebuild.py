"""A Keras model again, with some of its layers replaced and all of its weights."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping

import keras
from keras import layers
from keras.src.models.functional import Functional

from gnexp.errors import first_line

Replace = Callable[[layers.Layer], layers.Layer | None]
# They have nothing to train, and hold what their config does not: a Python function, an adapted vocabulary.
_SHARED = (layers.Lambda, layers.IntegerLookup, layers.StringLookup, layers.TextVectorization)
# What a subclass of a functional model may do in its own way.
_METHODS = ("call", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "fit")


def rebuild(model: keras.Model, replace: Replace) -> keras.Model:
    """Returns a copy of a model in which some layers are replaced; the model itself is left as it is.

    The copy has layers and variables of its own, with the model's values, `trainable` flags and compile arguments: the
    same objects, but for the optimizer, which starts anew. An inner model's copy is not compiled. A layer that the
    model uses several times is one layer in the copy, too. A replaced layer's weight goes to the new layer's weight of
    the same name and shape, if there is one.

    Args:
      model: a Sequential or functional model, whose inner models may be either, at any depth.
      replace: returns what is to stand in the place of a layer, or None to copy the layer. It is called for every layer
        that `reachable` yields.

    Raises:
      ValueError: the model cannot be copied: it is a subclassed one, or a layer of it has no working `get_config`.
    """
    check_graph(model)
    for each in dict.fromkeys(inner for _, inner in reachable(model, models=True)):
        if own := own_methods(each):
            warnings.warn(
                f"{each.name} is copied as a plain model: {type(each).__name__}'s own {', '.join(own)} is not copied",
                stacklevel=3,
            )
    copies: dict[int, layers.Layer] = {}  # by the id of the layer, which the model keeps alive
    replaced: set[int] = set()

    def clone(layer):
        if id(layer) not in copies:
            new = replace(layer) if isinstance(layer, layers.Layer) else None
            if new is not None:
                replaced.add(id(new))
            copies[id(layer)] = new or _clone(layer, clone, call)
        return copies[id(layer)]

    def call(layer, *arguments, **keywords):
        if id(layer) in replaced and not layer._call_has_mask_arg:
            keywords.pop("mask", None)  # A BatchNormalization was called with one.
        return layer(*arguments, **keywords)

    with _uncompiled(model):
        copy = clone(model)
    _carry(model, copies, replaced)
    if model.compiled:
        _compile(model, copy)
    return copy


def check_graph(model: keras.Model) -> None:
    """Raises ValueError for a model that `rebuild` cannot copy, because it is only known to the code that calls it."""
    if type(model).__module__.partition(".")[0] == "tf_keras":
        raise ValueError(
            f"{model.name} is a tf_keras model, which is Keras 2: gnexp needs Keras 3, so write `import keras`"
        )
    if not _is_graph(model):
        raise ValueError(
            f"{model.name} is a subclassed model ({type(model).__name__}): only Sequential and functional models can "
            "be copied. Give the code that builds it the layers that are wanted"
        )


def reachable(layer: layers.Layer, path: str = "", models: bool = False) -> Iterator[tuple[str, layers.Layer]]:
    """Yields the layers that `rebuild` can replace, with their paths: outside of other layers than models and wrappers.

    A layer that is used in several places is yielded for each.

    Args:
      layer: a model, to begin with.
      path: of the layer; empty for the outermost model.
      models: yield the models instead, the outermost first.
    """
    if _is_graph(layer):
        if models:
            yield path, layer
        for inner in layer.layers:
            yield from reachable(inner, f"{path}/{inner.name}".lstrip("/"), models)
    elif isinstance(layer, layers.Wrapper):
        yield from reachable(layer.layer, f"{path}/{layer.layer.name}", models)
        if not models:
            yield path, layer
    elif not models:
        yield path, layer


def _is_graph(layer: layers.Layer) -> bool:
    return isinstance(layer, (keras.Sequential, Functional))


def own_methods(model: keras.Model) -> list[str]:
    """Returns the methods that a class of the user's has instead of Keras's."""
    base = keras.Sequential if isinstance(model, keras.Sequential) else Functional
    return [name for name in _METHODS if getattr(type(model), name) is not getattr(base, name)]


def _clone(layer, clone: Callable, call: Callable) -> layers.Layer:
    """Returns a copy of a layer without its weights; a model's and a wrapper's layers are copied by `clone`."""
    if isinstance(layer, keras.Sequential):
        return keras.models.clone_model(layer, clone_function=clone)
    if _is_graph(layer):
        inputs = keras.tree.map_structure(_input, layer.input)
        return keras.models.clone_model(layer, inputs, clone_function=clone, call_function=call)
    if isinstance(layer, _SHARED):
        return layer
    try:
        if isinstance(layer, layers.Wrapper) and not isinstance(layer, layers.Bidirectional):
            config = {key: value for key, value in layer.get_config().items() if key != "layer"}
            return type(layer)(clone(layer.layer), **config)
        copy = type(layer).from_config(layer.get_config())
        copy.name = layer.name  # The config that Keras makes for a layer without `get_config` lacks it.
        return copy
    except Exception as error:  # the layer's own code, which may raise anything
        raise ValueError(
            f"{layer.name} ({type(layer).__name__}) cannot be copied: {type(error).__name__}: {first_line(error)}"
        ) from error


def _input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Returns an input like a model's; the one that Keras makes for a copy is never optional."""
    optional = tensor._keras_history.operation.optional
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name, optional=optional)


@contextlib.contextmanager
def _uncompiled(model: keras.Model) -> Iterator[None]:
    """Keeps Keras from copying losses and metrics by their configs, which those of the user's may lack."""
    compiled = [each for each in model._flatten_layers() if isinstance(each, keras.Model) and each.compiled]
    for each in compiled:
        each.compiled = False
    try:
        yield
    finally:
        for each in compiled:
            each.compiled = True


def _compile(model: keras.Model, copy: keras.Model) -> None:
    """Compiles a copy with what the model was compiled with, and an optimizer like the model's."""
    arguments, optimizer = dict(model._compile_config.config), model.optimizer
    try:
        if optimizer:
            config = optimizer.get_config()
            if isinstance(schedule := optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
                config["learning_rate"] = schedule  # It has no state.
            arguments["optimizer"] = type(optimizer).from_config(config)
        copy.compile(**arguments)
    except Exception as error:  # the code of an optimizer or of a model of the user's, which may raise anything
        warnings.warn(
            f"{model.name} is copied without its compile arguments: {type(error).__name__}: {first_line(error)}",
            stacklevel=4,
        )


def _pairs(
    old: layers.Layer, new: layers.Layer, copies: Mapping[int, layers.Layer]
) -> Iterator[tuple[layers.Layer, layers.Layer]]:
    """Yields each layer with its copy or its replacement, models before what they hold."""
    yield old, new
    if _is_graph(old):
        its, others = ([each for each in held.layers if not isinstance(each, layers.InputLayer)] for held in (old, new))
        if copies.get(id(old)) is new:
            others = [copies[id(layer)] for layer in its]
        # Otherwise it is inside of a layer that was copied by its config, where names are no help.
        for pair in zip(its, others, strict=True):
            yield from _pairs(*pair, copies)
    elif type(old) is type(new):
        inner = (each._flatten_layers(include_self=False, recursive=False) for each in (old, new))
        for pair in zip(*inner, strict=True):
            yield from _pairs(*pair, copies)


def _carry(model: keras.Model, copies: Mapping[int, layers.Layer], replaced: set[int]) -> None:
    """Gives a copy the weights of the model, and what is trainable of them.

    Args:
      model: the model.
      copies: what stands for it and for its layers in the copy, by their ids.
      replaced: the ids of those that are no copies.
    """
    found = _pairs(model, copies[id(model)], copies)
    pairs = [(old, new, id(new) in replaced) for old, new in found if old is not new]
    flags = [new.trainable if other else old.trainable for old, new, other in pairs]
    for (_, new, _), trainable in zip(pairs, flags, strict=True):
        new.trainable = trainable  # also sets what the layer holds, which comes after it
    for old, new, other in pairs:
        if old.built and not new.built:
            new.build_from_config(old.get_build_config())
        values, weights = (each._trainable_variables + each._non_trainable_variables for each in (old, new))
        if other:
            named = {value.name: value for value in values}
            weights = [weight for weight in weights if weight.name in named]
            values = [named[weight.name] for weight in weights]
        for value, weight in zip(values, weights, strict=True):
            if value.shape == weight.shape:
                weight.assign(keras.ops.copy(value))  # JAX gives the buffer of what is trained away.
                weight.trainable = weight.trainable if other else value.trainable
        if isinstance(new, layers.Normalization) and old.built:
            new.finalize_state()  # It computes with what it derives from its weights.
