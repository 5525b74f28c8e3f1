"""Test error against batch size for batch, group, layer, instance and no normalization: the paper's Figure 1, smaller.

Run:      python -m gnexp.train --config=configs/batch_size.py --workdir=runs/batch_size
          python -m gnexp.report --workdir=runs/batch_size
Time:     90 minutes on 2 CPU cores, two trials side by side: 75 trials of 4 seeds.
Accuracy: on the test set at batch size 1, 84.5 ± 0.7 % with GroupNorm 8, 82.2 ± 0.7 % with BatchNorm, 85.9 ± 0.6 % with
          neither (results/README.md).

All batch sizes see the same images, 4 epochs of 4096, so that the small ones take more steps, as in the paper. The
learning rate is tuned for each norm at each batch size, on held-out images; a pilot with one seed, for batch and group
normalization, showed where to look. The cosine schedule brings all of them to rest, so that small batches are not
judged by the noise of their last steps.
"""

from ml_collections import ConfigDict

from gnexp.config import base
from gnexp.space import by, choice


def get_config() -> ConfigDict:
    """Returns a grid over the base config."""
    config = base.get_config()
    config.epochs = 4
    config.data.fallback = ""
    config.data.train_size = 4096  # no batch size leaves a smaller last batch
    config.data.validation = 2048
    config.optimizer.name = "adam"
    config.schedule.name = "cosine"

    config.sweep = base.get_sweep()
    config.sweep.tuner = "grid"
    config.sweep.max_trials = 75
    config.sweep.executions = 4
    config.sweep.max_failures = 10
    config.sweep.seed = 0
    config.sweep.executor = "processes"
    config.sweep.parallel = 2

    space = config.sweep.space
    space.model.norm = choice("batch", "group", "layer", "instance", "none")
    space.data.batch_size = choice(1, 8, 32, 128)
    rates = {"1": choice(1e-4, 3e-4, 1e-3), "128": choice(3e-4, 1e-3, 3e-3, 1e-2)}
    rates |= dict.fromkeys(("8", "32"), choice(1e-4, 3e-4, 1e-3, 3e-3))
    space.optimizer.learning_rate = by("data.batch_size", role="nuisance", **rates)
    return config
