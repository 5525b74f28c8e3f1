"""Does a longer training of a ResNet on CIFAR-10 bring GroupNorm level with BatchNorm?

Run:      python -m gnexp.train --config=configs/cifar10_longer.py --workdir=runs/cifar10_longer
          python -m gnexp.report --workdir=runs/cifar10_longer
Time:     an hour on 2 CPU cores with other work beside: a race of 6 settings, 13 trainings.
Accuracy: on the test set 0.834 with BatchNorm, 0.788 with 8 groups, 0.814 with 32 (results/cifar10_longer/README.md).

The other questions train ResNet-8 for 1,280 steps. Here it has 7,031: 10 epochs of all 45,000 images, in batches of 64.
The learning rate is tuned for each norm, on held-out images. 32 groups do not divide 16 channels: that stage has 16.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import by, choice


def get_config() -> ConfigDict:
    """Returns a race over the config of cifar10.py, with a smaller network."""
    config = cifar10.get_question("batch")
    config.epochs = 10
    config.data.train_size = 0
    config.model.groups_fit = "gcd"
    config.sweep.max_trials = 6
    space = config.sweep.space
    space.model.norm = choice("batch", "group")
    space.model.groups = by("model.norm", group=choice(8, 32))
    space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    return config
