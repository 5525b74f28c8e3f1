"""Optimizers on CIFAR-10, with BatchNorm and with GroupNorm: is the best one another with GroupNorm?

Run:      python -m gnexp.train --config=configs/cifar10_optimizers.py:group --workdir=runs/cifar10_optimizers_group
          python -m gnexp.train --config=configs/cifar10_optimizers.py:batch --workdir=runs/cifar10_optimizers_batch
          python -m gnexp.report --workdir=runs/cifar10_optimizers_group
Time:     races of 12 settings; `--dry_run` estimates it.

ResNet-8 for 1,280 steps of batch size 64, on 10,240 images. The learning rate is tuned for each optimizer, on held-out
images. All have the L2 penalty of the convolutions; AdamW decays all weights as well.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import by, choice


def get_config(norm: str = "group") -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened.

    Args:
      norm: "group" or "batch".
    """
    config = cifar10.get_question(norm)
    config.sweep.max_trials = 12
    space = config.sweep.space
    space.optimizer.name = choice("sgd", "adam", "adamw", "rmsprop")
    adaptive = choice(1e-3, 3e-3, 1e-2)
    rates = {"sgd": choice(0.03, 0.1, 0.3), "adam": adaptive, "adamw": adaptive, "rmsprop": choice(3e-4, 1e-3, 3e-3)}
    space.optimizer.learning_rate = by("optimizer.name", role="nuisance", **rates)
    return config
