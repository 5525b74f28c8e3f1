"""The number of groups, or of channels in a group, on CIFAR-10: the paper's table 3.

Run:      for question in groups groups_wide channels channels_wide; do
            python -m gnexp.train --config=configs/cifar10_groups.py:$question --workdir=runs/cifar10_groups_$question
            python -m gnexp.report --workdir=runs/cifar10_groups_$question
          done
Time:     races of 12 and of 10 settings; `--dry_run` estimates it.

ResNet-8 for 1,280 steps of batch size 64, on 10,240 images, with 16, 32 and 64 channels, which 32 does not divide; the
wide ones have 32, 64 and 128, which it does. Where groups do not divide the channels, there are as many as the greatest
common divisor: 16 of one channel each for 32. The learning rate is tuned for each number, on held-out images.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import choice


def get_config(question: str = "groups") -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened.

    Args:
      question: "groups" or "channels", and `_wide` behind it for twice as many channels.
    """
    asked, _, wide = question.partition("_")
    if asked not in ("groups", "channels") or wide not in ("", "wide"):
        raise ValueError(f"there is no question {question!r} in configs/cifar10_groups.py: see its first lines")
    config = cifar10.get_question("group")
    config.model.args.widen = 2 if wide else 1
    space = config.sweep.space
    if asked == "groups":
        config.sweep.max_trials = 12
        config.model.groups_fit = "gcd"
        space.model.groups = choice(1, 2, 4, 8, 16, 32)
    else:
        config.sweep.max_trials = 10
        config.model.channels_per_group = 8
        space.model.channels_per_group = choice(1, 2, 4, 8, 16)
    space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    return config
