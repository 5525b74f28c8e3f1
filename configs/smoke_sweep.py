"""Every part of a sweep, small: four trials of two seeds on the digits that come with scikit-learn.

Run:      python -m gnexp.train --config=configs/smoke_sweep.py --workdir=runs/smoke-sweep
Time:     42 s on 2 CPU cores, most of it for starting Python and compiling eight networks.
Accuracy: not meaningful, because each training sees only 400 images, twice.
"""

from ml_collections import ConfigDict

from configs import fmnist_sweep, smoke
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns the sweep of fmnist_sweep.py over the training of smoke.py."""
    config = smoke.get_config()
    config.epochs = 2
    config.data.train_size = 400
    config.sweep = fmnist_sweep.get_config().sweep
    config.sweep.max_trials = 4
    config.sweep.executions = 2
    config.sweep.space.model.groups = choice(1, 2, 4, 8)
    config.sweep.space.data.batch_size = choice(16, 32, 64)
    return config
