"""ResNet-20 on CIFAR-10, with flips and crops (He et al., arXiv 1512.03385, section 4.2).

Run:      python -m gnexp.train --config=configs/cifar10.py --workdir=runs/cifar10
          python -m gnexp.train --config=configs/cifar10.py --config.model.norm=batch --workdir=runs/cifar10_batch_norm
Time:     `--dry_run` estimates it; on 2 CPU cores some 15 minutes.

The paper trains for 164 epochs, with a rate that falls in steps; 10 with a cosine show where it goes. The crop of a
padded image is a random translation here. 32 groups, the usual number, do not divide the first 16 channels.
"""

from ml_collections import ConfigDict

from gnexp.config import base


def get_config() -> ConfigDict:
    """Returns a training."""
    config = base.get_config()
    config.epochs = 10
    config.data.name = "cifar10"
    config.data.fallback = ""
    config.data.validation = 5000
    config.data.augment.random_flip = {"mode": "horizontal"}
    config.data.augment.random_translation = {"height_factor": 0.125, "width_factor": 0.125, "fill_mode": "constant"}
    config.model.name = "resnet"
    config.model.args.depth = 20
    config.model.args.l2 = 1e-4
    config.model.epsilon = 1e-5
    config.model.momentum = 0.9
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    config.schedule.name = "cosine"
    return config


def get_question(norm: str) -> ConfigDict:
    """Returns a race without its space, over a training that is short enough to be repeated a hundred times.

    ResNet-8 has 8 epochs of 10,240 images in batches of 64, or 1,280 steps; the images are only flipped.

    Args:
      norm: "group" or "batch".
    """
    if norm not in ("group", "batch"):
        raise ValueError(f"{norm!r} is not asked about: it must be group or batch")
    config = get_config()
    config.model.norm = norm
    config.epochs = 8
    config.data.train_size = 10240
    config.data.batch_size = 64
    del config.data.augment.random_translation
    config.model.args.depth = 8
    config.sweep = base.get_sweep()
    config.sweep.tuner = "racing"
    config.sweep.executions = 3
    config.sweep.seed = 0
    config.sweep.executor = "processes"
    config.sweep.parallel = 2
    return config
