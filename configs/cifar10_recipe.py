"""What else a network with GroupNorm may have, on CIFAR-10: which of it matters?

Run:      python -m gnexp.train --config=configs/cifar10_recipe.py --workdir=runs/cifar10_recipe
          python -m gnexp.report --workdir=runs/cifar10_recipe
Time:     a race of 16 settings; `--dry_run` estimates it.

Weight standardization (Qiao et al., arXiv 1903.10520), a last gamma of 0 in each block (Goyal et al., arXiv
1706.02677), and gamma, beta and biases without weight decay, each with and without the others. ResNet-8 for 1,280 steps
of batch size 64, on 10,240 images, with AdamW, whose decay is the only one here. The learning rate is tuned for each,
on held-out images.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened."""
    config = cifar10.get_question("group")
    config.model.args.l2, config.model.args.zero_gamma = 0.0, False
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 0.1
    config.sweep.max_trials = 16
    space = config.sweep.space
    space.model.weight_standardization = choice(False, True)
    space.model.args.zero_gamma = choice(False, True)
    space.optimizer.decay_norms = choice(True, False)
    space.optimizer.learning_rate = choice(1e-3, 3e-3, role="nuisance")
    return config
