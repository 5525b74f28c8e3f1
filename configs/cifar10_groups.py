"""The number of groups, or of channels in a group, on CIFAR-10: the paper's table 3.

Run:      python -m gnexp.train --config=configs/cifar10_groups.py:groups --workdir=runs/cifar10_groups/groups
          python -m gnexp.train --config=configs/cifar10_groups.py:channels --workdir=runs/cifar10_groups/channels
          python -m gnexp.report --workdir=runs/cifar10_groups/groups
Time:     races of 24 and of 20 settings; `--dry_run` estimates it.

ResNet-8 for 1,280 steps of batch size 64, on 10,240 images, with 16, 32 and 64 channels (`widen=1`, which 32 does not
divide) or 32, 64 and 128 (`widen=2`, which it does). Where groups do not divide the channels, there are as many as the
greatest common divisor: 16 of one channel each for 32. The learning rate is tuned for each pair, on held-out images.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import choice


def get_config(question: str = "groups") -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened.

    Args:
      question: "groups" or "channels".
    """
    if question not in ("groups", "channels"):
        raise ValueError(f"there is no question {question!r} in configs/cifar10_groups.py: it is groups or channels")
    config = cifar10.get_question()
    space = config.sweep.space
    space.model.args.widen = choice(1, 2)
    if question == "groups":
        config.sweep.max_trials = 24
        config.model.groups_fit = "gcd"
        space.model.groups = choice(1, 2, 4, 8, 16, 32)
    else:
        config.sweep.max_trials = 20
        space.model.channels_per_group = choice(1, 2, 4, 8, 16)
    space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    return config
