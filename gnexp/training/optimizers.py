"""The optimizers by name, and their learning-rate schedules."""

from collections.abc import Sequence

import keras
from ml_collections import ConfigDict

from gnexp.config.objective import Objective
from gnexp.training import fused_optimizers


def build(
    config: ConfigDict,
    schedule: ConfigDict,
    steps_per_epoch: int,
    epochs: int,
    precision: str = "float32",
    jit_compile: bool = False,
) -> keras.optimizers.Optimizer:
    """Builds an optimizer.

    Args:
      config: a config's `optimizer` section.
      schedule: its `schedule` section. "plateau" acts between epochs (see `plateau`), so the optimizer starts at the
        config's learning rate.
      steps_per_epoch: training steps in an epoch.
      epochs: epochs in the whole training.
      precision: the layers' dtype policy. Under mixed_float16 the loss is scaled, as in Keras's `compile`, so that
        small gradients do not vanish.
      jit_compile: whether XLA compiles the steps on TensorFlow; it then fuses Keras's own updates.
    """
    rate = float(config.learning_rate)  # Keras refuses an int
    if schedule.name == "cosine":
        rate = _cosine(rate, schedule, steps_per_epoch, epochs)
    fused = keras.backend.backend() == "tensorflow" and not jit_compile
    optimizer = _by_name(config, rate, fused_optimizers if fused else keras.optimizers)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def _by_name(config: ConfigDict, rate, optimizers) -> keras.optimizers.Optimizer:
    match config.name:
        case "adam":
            return optimizers.Adam(rate)
        case "amsgrad":
            return optimizers.Adam(rate, amsgrad=True)
        case "adamw":
            return optimizers.AdamW(rate, weight_decay=config.weight_decay)
        case "sgd":
            return optimizers.SGD(rate, momentum=float(config.momentum), nesterov=config.nesterov)
        case "rmsprop":
            return optimizers.RMSprop(rate)
        case "lion":
            return keras.optimizers.Lion(rate)
    raise ValueError(f"name={config.name!r}")


def _cosine(peak: float, schedule: ConfigDict, steps_per_epoch: int, epochs: int):
    """Returns a linear warm-up from 0 to `peak`, then half a cosine down to the floor (arXiv 1608.03983, eq. 5)."""
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        decay_steps=max(1, epochs * steps_per_epoch - warmup),
        alpha=schedule.min_learning_rate / peak,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def spare_norms(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Excludes gamma, beta and biases, and every variable of one dimension or none, from weight decay.

    Args:
      optimizer: as `build` returns it, not yet built itself.
      variables: those that it will train.
    """
    # A LayerNormalization over several axes has gamma and beta of as many.
    named = ("bias", "gamma", "beta")
    spared = [variable for variable in variables if len(variable.shape) <= 1 or variable.name in named]
    # A LossScaleOptimizer leaves the updates to another.
    getattr(optimizer, "inner_optimizer", optimizer).exclude_from_weight_decay(var_list=spared)


def plateau(schedule: ConfigDict, watched: Objective) -> keras.callbacks.ReduceLROnPlateau:
    """Returns Keras's own plateau rule, which watches a figure; call its `on_epoch_end` after each epoch."""
    return keras.callbacks.ReduceLROnPlateau(
        monitor=watched.name,
        factor=schedule.factor,
        patience=schedule.patience,
        min_lr=schedule.min_learning_rate,
        mode=watched.direction,
    )


def learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the learning rate of the next step."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
