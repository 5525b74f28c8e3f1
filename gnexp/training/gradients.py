"""Whether a network can learn: its outputs have a gradient for its weights, and a loss has one for its outputs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from gnexp.errors import FunctionError

_MOST_NAMED = 5


def outputs(model: keras.Model, inputs: np.ndarray, name: str) -> Any:
    """Returns what a model returns in training, a float32 tensor of shape (n, ...).

    Args:
      model: the model.
      inputs: array of shape (n, ...).
      name: config.model.name, for messages.

    Raises:
      FunctionError: the model has nothing to train, or its outputs have no gradient for any of it.
    """
    weights = model.trainable_weights
    if not weights:
        raise FunctionError(
            f"config.model.name={name!r} returned a model with nothing to train: it must have weights that are "
            "trainable"
        )
    found, connected = (_in_jax if keras.backend.backend() == "jax" else _in_tensorflow)(model, inputs)
    if not connected:
        named = ", ".join(weight.path for weight in weights[:_MOST_NAMED])
        more = f" and {len(weights) - _MOST_NAMED} more" if len(weights) > _MOST_NAMED else ""
        raise FunctionError(
            f"config.model.name={name!r} returned a model that cannot learn: its outputs have no gradient for any of "
            f"its weights, {named}{more}; leave out what stops it, such as stop_gradient or argmax"
        )
    return found


def _in_tensorflow(model: keras.Model, inputs: np.ndarray) -> tuple[Any, bool]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        found = model(inputs, training=True)
    gradients = tape.gradient(found, model.trainable_weights)
    return found, any(gradient is not None for gradient in gradients)


def _in_jax(model: keras.Model, inputs: np.ndarray) -> tuple[Any, bool]:
    import jax

    found = model(inputs, training=True)
    others = [variable.value for variable in model.non_trainable_variables]

    def pulled(trainable: list[Any], given: Any) -> Any:
        _, pull = jax.vjp(lambda values: model.stateless_call(values, others, inputs, training=True)[0], trainable)
        return pull(given)

    # JAX has zeros where there is no gradient: nothing that is computed from what the outputs are given.
    traced = jax.make_jaxpr(pulled)([variable.value for variable in model.trainable_variables], found).jaxpr
    reached = {traced.invars[-1]}
    for step in traced.eqns:
        if any(not hasattr(each, "val") and each in reached for each in step.invars):  # a literal has a value
            reached.update(step.outvars)
    return found, any(not hasattr(each, "val") and each in reached for each in traced.outvars)


def trace(loss: Callable[[Any, Any], Any], targets: np.ndarray, outputs: Any) -> None:
    """Traces a loss and its gradient, as a compiled step does; raises what the loss raises, and if there is none."""
    if keras.backend.backend() == "jax":
        import jax

        jax.eval_shape(jax.grad(lambda given: keras.ops.mean(loss(targets, given))), outputs)
        return
    import tensorflow as tf

    @tf.function(autograph=False)
    def gradient(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            mean = tf.reduce_mean(loss(targets, outputs))
        found = tape.gradient(mean, outputs)
        if found is None:
            raise ValueError("the loss has no gradient with respect to the network's outputs")
        return found

    gradient.get_concrete_function(tf.convert_to_tensor(targets), tf.convert_to_tensor(outputs))
