"""Epsilon on CIFAR-10, for BatchNorm and for GroupNorm, from 1e-8 to 1.

Run:      python -m gnexp.train --config=configs/cifar10_epsilon.py:group --workdir=runs/cifar10_epsilon_group
          python -m gnexp.train --config=configs/cifar10_epsilon.py:batch --workdir=runs/cifar10_epsilon_batch
          python -m gnexp.report --workdir=runs/cifar10_epsilon_group
Time:     races of 10 settings; `--dry_run` estimates it.

ResNet-8 for 1,280 steps of batch size 64, on 10,240 images. The learning rate is tuned for each epsilon, on held-out
images. Keras's norms have 1e-3 by default, PyTorch's 1e-5.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import choice


def get_config(norm: str = "group") -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened.

    Args:
      norm: "group" or "batch".
    """
    config = cifar10.get_question(norm)
    config.sweep.max_trials = 10
    config.sweep.space.model.epsilon = choice(1e-8, 1e-5, 1e-3, 1e-1, 1.0)
    config.sweep.space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    return config
