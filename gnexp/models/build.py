"""From a config's `model` section to the network that is trained.

The function that it names builds the network on images from 0 to 1. gnexp puts the scaling before it, and has the norms
that the config asks for made by it or, where it has no parameter for them, in the place of its batch normalization.
"""

import contextlib
import dataclasses
import itertools
import re
import traceback
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.models.functional import Functional
from ml_collections import ConfigDict

from gnexp.config import open_sections
from gnexp.errors import FunctionError, UserError, first_line
from gnexp.functions import load, signature
from gnexp.functions.signature import Signature
from gnexp.models.outputs import Outputs
from gnexp.norms import by_name, table
from gnexp.norms.rebuild import own_methods
from gnexp.norms.swapping import swapped
from gnexp.norms.weight_standardization import standardize

_KEEP = "keep"
_INPUTS, _SHAPE, _OUTPUTS = ("inputs", "input_tensor"), "input_shape", ("outputs", "classes", "num_classes")
_given: weakref.WeakValueDictionary[int, keras.Variable] = weakref.WeakValueDictionary()  # by id
_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)


def build(
    config: ConfigDict,
    input_shape: tuple[int, ...],
    outputs: Outputs | int,
    dtype: str = "float32",
    input_dtype: str = "uint8",
    notes: list[str] | None = None,
) -> keras.Model:
    """Builds the network of a config.

    Args:
      config: a config's `model` section.
      input_shape: (height, width, channels) of the images, or (numbers,) of a table.
      outputs: what the network returns, in float32; a number stands for as many classes.
      dtype: the layers' dtype policy.
      input_dtype: uint8 for images from 0 to 255, which are scaled to 0 to 1; floats are taken as they are.
      notes: gets a line for each thing of what the function returned that is not trained as it is.

    Raises:
      FunctionError: the function fails, or returns something else than such a network; a norm cannot be put into it,
        or would normalize single values.
      UserError: there is no such function, or its arguments do not fit.
    """
    norm = None if config.norm == _KEEP else by_name.factory(config, dtype)
    model = with_norm(config, input_shape, outputs, dtype, norm, input_dtype, notes)
    with _failures(config.name, f"cannot have config.model.norm={config.norm!r}"):
        table.check(table.rows(model), model.name)
    if not in_stateless_scope():  # in which a network is only counted
        _refuse_given_before(model, config.name)
    return model


def with_norm(
    config: ConfigDict,
    input_shape: tuple[int, ...],
    outputs: Outputs | int,
    dtype: str,
    norm: by_name.Norm | None,
    input_dtype: str = "uint8",
    notes: list[str] | None = None,
) -> keras.Model:
    """Builds the network of a config as `build` does, with another norm than the config's, which may not fit.

    Args:
      config: a config's `model` section.
      input_shape: as for `build`.
      outputs: likewise.
      dtype: likewise.
      norm: what makes the norms; None keeps those that the network has.
      input_dtype: as for `build`.
      notes: likewise.
    """
    outputs = outputs if isinstance(outputs, Outputs) else Outputs(outputs)
    with _policy(dtype):
        inner = _inner(config, input_shape, outputs, norm, [] if notes is None else notes)
        inputs = keras.layers.InputLayer  # which is left out
        taken = {each.name for each in _graph(inner).operations if not isinstance(each, inputs)}
        images = keras.Input(input_shape, dtype=input_dtype, name=_free("images", taken))
        with _failures(config.name, "does not build"):
            x = images
            if input_dtype == "uint8":
                scaling = keras.layers.Rescaling(1 / 255)
                scaling.name = _free(scaling.name, taken)
                x = scaling(images)
            logits = _unfolded(inner, x)
            if logits.dtype != "float32":
                # Softmax and loss would overflow in float16.
                name = _free("in_float32", taken)
                logits = keras.layers.Activation("linear", dtype="float32", name=name)(logits)
            # TensorFlow names what it traces by it, and refuses others.
            name = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", f"{config.norm}_{inner.name}")
            return keras.Model(images, logits, name=name)


def _free(name: str, taken: Collection[str]) -> str:
    """Returns a name for a layer of gnexp's that no layer of the user's has: the one given, if it is free."""
    others = (f"gnexp_{name}{'_' * (number > 0)}{number or ''}" for number in itertools.count())
    return next(each for each in itertools.chain([name], others) if each not in taken)


def _graph(model: keras.Model) -> Functional:
    return model if isinstance(model, Functional) else model._functional


def _unfolded(model: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """Calls the layers of a model on other inputs; `model(x)` would make the whole model one layer."""
    graph = _graph(model)
    # Otherwise each layer would have two places in a graph, and its `output` would be ambiguous.
    nodes = [node for at_depth in graph._nodes_by_depth.values() for node in at_depth]
    for layer in graph.operations:
        layer._inbound_nodes[:] = [node for node in layer._inbound_nodes if node not in nodes]
    return keras.tree.flatten(graph._run_through_graph([x], operation_fn=lambda operation: operation))[0]


@contextlib.contextmanager
def _policy(dtype: str) -> Iterator[None]:
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def _inner(
    config: ConfigDict, shape: tuple[int, ...], outputs: Outputs, norm: by_name.Norm | None, notes: list[str]
) -> keras.Model:
    name = open_sections.function("model", config.name)
    function = load.load(name)
    takes = signature.of_function(function)
    arguments = _arguments(config, takes, shape, outputs.count)
    if "per_pixel" in takes.names:
        arguments["per_pixel"] = outputs.per_pixel
    own = "norm" in takes.names
    if own and norm is None:
        raise UserError(
            f"config.model.norm={_KEEP!r} is not allowed with {config.name!r}, which takes its norms from gnexp: it "
            "must be the name of one, such as 'batch'"
        )
    if own:
        arguments["norm"] = norm
    with _failures(config.name, "does not build"), load.watched([name]):
        model = function(**arguments)
    _check(model, config.name, shape, outputs)
    if methods := own_methods(model):
        notes.append(
            f"config.model.name={config.name!r} returned a model whose class, {type(model).__name__}, has its own "
            f"{', '.join(methods)}, which is not used: gnexp trains in its own way"
        )
    with _failures(config.name, f"cannot have config.model.norm={config.norm!r}"):
        if not own and norm is not None:
            # The layers that are replaced have their own dtype policy.
            with _noted(model, notes):
                model = swapped(model, dataclasses.replace(norm, dtype=None))
    if config.weight_standardization:
        with _failures(config.name, "cannot have config.model.weight_standardization=True"), _noted(model, notes):
            model = standardize(model)
    return model


@contextlib.contextmanager
def _noted(model: keras.Model, notes: list[str]) -> Iterator[None]:
    """Adds to the notes what is warned of, but for the model itself, of which its own class has been noted already."""
    with warnings.catch_warnings(record=True, action="always") as found:
        yield
    said = (first_line(each.message) for each in found if each.category is UserWarning)
    notes.extend(line for line in said if line not in notes and not line.startswith(f"{model.name} is copied "))


def _refuse_given_before(model: keras.Model, name: str) -> None:
    """Refuses layers that an earlier call returned, such as those of a network that the module keeps.

    Each training would begin with the weights that the one before it has left. What is frozen may be shared.
    """
    given = any(_given.get(id(weight)) is weight for weight in model.trainable_variables)
    if given or any(weight._value is None for weight in model.variables):  # of a call that only counted them
        raise FunctionError(
            f"config.model.name={name!r} returned layers that an earlier call of it had returned: it must make new "
            "ones at each call, and load trained weights inside of the function"
        )
    remember(model)


def remember(model: keras.Model) -> None:
    """Takes note of the weights of a model that a function returned, so that `build` refuses them later."""
    _given.update((id(weight), weight) for weight in model.trainable_variables)


@contextlib.contextmanager
def _failures(name: str, what: str) -> Iterator[None]:
    """Raises what the user's code or Keras raises as a `FunctionError` of one line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        why = load.cause(error)
        if any("tf_keras" in frame.filename.split("/") for frame in traceback.extract_tb(error.__traceback__)):
            why = (
                f"it uses tf_keras, which is Keras 2, and gnexp needs Keras 3: write `import keras` ({first_line(why)})"
            )
        raise FunctionError(f"config.model.name={name!r} {what}: {why}") from error


def _arguments(config: ConfigDict, takes: Signature, shape: tuple[int, ...], outputs: int) -> dict[str, Any]:
    """Returns what the function is called with, except for its norm, under the names that it has for it."""
    args = config.args.to_dict() if "args" in config else {}
    given = open_sections.arguments_of("model", config.name, args, takes)
    if takes.get("weights") and takes.get("classes"):
        given.setdefault("weights", None)
    if "classifier_activation" in takes.names:
        given["classifier_activation"] = None
    if not (images := _first((*_INPUTS, _SHAPE), takes)):
        raise UserError(
            f"config.model.name={config.name!r} must take a parameter named 'inputs', 'input_tensor' or 'input_shape': "
            f"it takes {', '.join(takes.names) or 'none'}"
        )
    given[images] = shape if images == _SHAPE else keras.Input(shape, name="inputs")
    if count := _first(_OUTPUTS, takes):
        given[count] = outputs
    return given


def _first(names: Sequence[str], takes: Signature) -> str | None:
    """Returns the first of some names that a function has for a parameter, or None if it has none of them."""
    return next((name for name in names if name in takes.names), names[0] if takes.open else None)


def _check(model: Any, name: str, shape: tuple[int, ...], outputs: Outputs) -> None:
    """Refuses what is not a network as it must be.

    Raises:
      FunctionError: saying what was returned, and what must be.
    """

    def refuse(what: str) -> FunctionError:
        return FunctionError(f"config.model.name={name!r} returned {what}")

    kind = type(model)
    if kind.__module__.partition(".")[0] == "tf_keras":
        raise refuse("a tf_keras model, which is Keras 2: gnexp needs Keras 3, so write `import keras`")
    if not isinstance(model, keras.Model):
        raise refuse(f"{'None' if model is None else f'a {kind.__name__}'}: it must return a keras.Model")
    if not isinstance(model, (Functional, keras.Sequential)):
        raise refuse(
            f"a subclassed keras.Model, {kind.__name__}, whose inside Keras does not know: it must return "
            "keras.Model(inputs, outputs) or a keras.Sequential"
        )
    if "call" in own_methods(model):
        raise refuse(
            f"a model whose class, {kind.__name__}, has its own call(), which gnexp would not run: it trains the "
            "layers between the inputs and the outputs, so put what call() does into a layer"
        )
    if not model.built or len(model.inputs) != 1 or len(model.outputs) != 1:
        count = f"with {len(model.inputs)} inputs and {len(model.outputs)} outputs" if model.built else "without inputs"
        raise refuse(f"a model {count}: it must have one input, the images, and one output")
    inside = model.inputs[0].shape[1:]
    if len(inside) != len(shape) or any(a not in (None, b) for a, b in zip(inside, shape, strict=True)):
        raise refuse(f"a model for inputs of shape {tuple(inside)}: the images have {shape}")
    found, wanted = tuple(model.outputs[0].shape), (None, *outputs.shape(shape))
    if found != wanted:
        raise refuse(f"a model whose outputs have the shape {found}: it must be {wanted}, {outputs.each}")
    if outputs.logits and (last := _probabilities(model)):
        raise refuse(f"a model that ends in {last}: it must return logits, without an activation at the end")


def _probabilities(model: keras.Model) -> str | None:
    """Returns the name of the function at a model's end that makes probabilities, or None if there is none."""
    operation = model.outputs[0]._keras_history.operation
    if isinstance(operation, keras.Model):
        return _probabilities(operation)
    activation: Callable | None = getattr(operation, "activation", None)
    if activation in _PROBABILITIES:
        return activation.__name__
    name = type(operation).__name__
    return name.lower() if name in ("Softmax", "Sigmoid") else None
