"""Whether AMSGrad's gain over Adam at batch size 1, which the original project saw, is real.

Run:      python -m gnexp.train --config=configs/optimizers.py --workdir=runs/optimizers
          python -m gnexp.report --workdir=runs/optimizers
Time:     82 minutes on 2 CPU cores, two trials side by side: 6 trials of 3 seeds.
Accuracy: on the test set, 87.4 ± 0.7 % with Adam, 86.9 ± 1.1 % with AMSGrad (results/README.md).

One epoch of all images except the 2,048 held out, with 8 groups. The original compared the two at one learning rate,
1e-3. Here each has the best of three rates on held-out images; results/optimizers/README.md has the others. A shorter
sweep, with its command there too, found 1e-4 to be the best of four for both. The rate is constant, as the original's
was in the epochs in which the two diverged; this is only the first of those.
"""

from ml_collections import ConfigDict

from configs import batch_size
from gnexp.space import choice


def get_config() -> ConfigDict:
    """Returns a grid over the base config."""
    config = batch_size.get_config()
    config.epochs = 1
    config.data.batch_size = 1
    config.data.train_size = 0
    config.schedule.name = "constant"
    config.sweep.max_trials = 6
    config.sweep.executions = 3

    space = config.sweep.space = ConfigDict({"optimizer": {}})
    space.optimizer.name = choice("adam", "amsgrad")
    space.optimizer.learning_rate = choice(3e-5, 1e-4, 1e-3, role="nuisance")
    return config
