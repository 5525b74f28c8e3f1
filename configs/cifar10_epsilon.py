"""Epsilon on CIFAR-10, for BatchNorm and GroupNorm, from 1e-8 to 1.

Run:      python -m gnexp.train --config=configs/cifar10_epsilon.py --workdir=runs/cifar10_epsilon
          python -m gnexp.report --workdir=runs/cifar10_epsilon
Time:     a race of 20 settings; `--dry_run` estimates it.

ResNet-8 for 1,280 steps of batch size 64, on 10,240 images. The learning rate is tuned for each pair, on held-out
images. Keras's norms have 1e-3 by default, PyTorch's 1e-5.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened."""
    config = cifar10.get_question()
    config.sweep.max_trials = 20
    space = config.sweep.space
    space.model.norm = choice("batch", "group")
    space.model.epsilon = choice(1e-8, 1e-5, 1e-3, 1e-1, 1.0)
    space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    return config
