"""Whether AMSGrad's gain over Adam at batch size 1, which the original project saw, is real.

Run:      python -m gnexp.train --config=configs/optimizers.py --workdir=runs/optimizers
          python -m gnexp.report --workdir=runs/optimizers
Time:     30 minutes on 2 CPU cores, two trials side by side: 8 trials of 5 seeds.
Accuracy: on the test set 82.5 ± 0.8 % with AMSGrad, 82.4 ± 0.3 % with Adam, each at its best rate (results/README.md).

The data are those of batch_size.py, with 8 groups. The original compared the two at one learning rate, 1e-3; here each
has the one of four that suits it best on held-out images, and the page has the rest. The rate is constant, as the
original's was in the epochs in which the two came apart.
"""

from ml_collections import ConfigDict

from configs import batch_size
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns a grid over fmnist.py."""
    config = batch_size.get_config()
    config.data.batch_size = 1
    config.schedule.name = "constant"
    config.sweep.max_trials = 8
    config.sweep.executions = 5

    space = config.sweep.space = ConfigDict({"optimizer": {}})
    space.optimizer.name = choice("adam", "amsgrad")
    space.optimizer.learning_rate = choice(1e-4, 3e-4, 1e-3, 3e-3, role="nuisance")
    return config
