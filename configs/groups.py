"""The number of groups, from one (layer normalization) to one for each channel (instance normalization).

Run:      python -m gnexp.train --config=configs/groups.py --workdir=runs/groups
          python -m gnexp.report --workdir=runs/groups
Time:     32 minutes on 2 CPU cores, two trials side by side: 21 trials of 5 seeds.
Accuracy: on the test set, 82.1 ± 0.4 % with one group, 83.2 ± 0.3 % with 32 (results/README.md).

The data and the schedule are those of batch_size.py, the batch size is 32. The learning rate is tuned for each number
of groups, on held-out images.
"""

from ml_collections import ConfigDict

from configs import batch_size
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns a grid over the base config."""
    config = batch_size.get_config()
    config.data.batch_size = 32
    config.sweep.max_trials = 21
    config.sweep.executions = 5

    space = config.sweep.space = ConfigDict({"model": {}, "optimizer": {}})
    space.model.groups = choice(1, 2, 4, 8, 16, 32, -1)  # -1: a group for each of the 32 and of the 64 channels
    space.optimizer.learning_rate = choice(1e-4, 3e-4, 1e-3, role="nuisance")
    return config
