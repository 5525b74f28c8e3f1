"""Swap the BatchNorm of a trained network for GroupNorm and go on training: does it get worse, and why?

Run:      python -m gnexp.train --config=configs/swap.py:before --workdir=runs/swap/before
          python -m gnexp.train --config=configs/swap.py:after --workdir=runs/swap/after
          python -m gnexp.report --workdir=runs/swap/after
Time:     `--dry_run` estimates it; on 2 CPU cores some 10 minutes, and then 2 hours.

before: ResNet-20 with BatchNorm on CIFAR-10, on 20,480 images.
after: the same network with its weights, with its own BatchNorm (`keep`), with GroupNorm in its place, or without
norms, trained for 3 more epochs. The learning rate is tuned for each.
"""

from ml_collections import ConfigDict

from gnexp.config import base
from gnexp.space import choice


def get_config(part: str = "after") -> ConfigDict:
    """Returns a training, or a grid.

    Args:
      part: "before" or "after".
    """
    if part not in ("before", "after"):
        raise ValueError(f"there is no part {part!r} in configs/swap.py: it must be before or after")
    config = base.get_config()
    config.epochs = 10 if part == "before" else 3
    config.data.name = "cifar10"
    config.data.fallback = ""
    config.data.train_size = 20480
    config.data.validation = 5000
    config.data.augment.random_flip = {"mode": "horizontal"}
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    config.schedule.name = "cosine"
    config.model.momentum = 0.9
    if part == "before":
        config.model.name = "resnet"
        config.model.args.depth = 20
        config.model.norm = "batch"
        config.model.epsilon = 1e-5
        return config
    config.model.name = "trained:network"
    config.model.args.path = "runs/swap/before/checkpoints/best.keras"
    config.model.norm = "keep"
    config.model.epsilon = 1e-5

    config.sweep = base.get_sweep()
    config.sweep.tuner = "grid"
    config.sweep.max_trials = 9
    config.sweep.executions = 3
    config.sweep.seed = 0
    config.sweep.executor = "processes"
    config.sweep.parallel = 2
    config.sweep.space.model.norm = choice("keep", "group", "none")
    config.sweep.space.optimizer.learning_rate = choice(0.003, 0.01, 0.03, role="nuisance")
    return config
