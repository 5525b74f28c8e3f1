"""Whether epsilon matters to group normalization, and where it begins to hurt.

Run:      python -m gnexp.train --config=configs/epsilon.py --workdir=runs/epsilon
          python -m gnexp.report --workdir=runs/epsilon
Time:     18 minutes on 2 CPU cores, two trials side by side: 35 trials of 3 seeds.
Accuracy: on the test set, 82.6 ± 0.3 % with 1e-6, 84.5 ± 0.6 % with 10, 78.5 ± 1.5 % with 1000 (results/README.md).

The data and the schedule are those of batch_size.py, the batch size is 32, with 8 groups. The learning rate is tuned
for each epsilon, on held-out images: a large epsilon makes activations small, and another rate might make up for that.
1e-4 is not searched: groups.py showed that it is too low for a small epsilon.
"""

from ml_collections import ConfigDict

from configs import batch_size
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns a grid over the base config."""
    config = batch_size.get_config()
    config.data.batch_size = 32
    config.sweep.max_trials = 35
    config.sweep.executions = 3

    space = config.sweep.space = ConfigDict({"model": {}, "optimizer": {}})
    space.model.epsilon = choice(1e-6, 1e-3, 1.0, 1e1, 1e2, 1e3, 1e4)
    space.optimizer.learning_rate = choice(3e-4, 1e-3, 3e-3, 1e-2, 3e-2, role="nuisance")
    return config
