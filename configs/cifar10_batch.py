"""The paper's Figure 1 on CIFAR-10 with ResNet-20: what small batches do to BatchNorm, and not to GroupNorm.

Run:      python -m gnexp.train --config=configs/cifar10_batch.py:norm --workdir=runs/cifar10_batch/norm
          python -m gnexp.train --config=configs/cifar10_batch.py:sgd --workdir=runs/cifar10_batch/sgd
          python -m gnexp.report --workdir=runs/cifar10_batch/norm
Time:     races of 27 and of 48 settings; `--dry_run` estimates it, on 2 CPU cores up to 9 hours for `sgd`.

norm: the optimizer's batch is always 32, and only the images that share their statistics are fewer: ghost batches of 2,
4, 8 and 16. That is what the paper varies, whose batch is spread over 8 GPUs.
sgd: the batch itself is 2, 8, 32 or 128, as where memory is short. All see the same images, so that small batches take
more steps, and the learning rate is tuned for each.

6 epochs of 20,480 images are short for such a network, and there is no crop: its errors are those of a beginning.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.config import base
from gnexp.space import by, choice


def get_config(question: str = "norm") -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened.

    Args:
      question: "norm" or "sgd".
    """
    if question not in ("norm", "sgd"):
        raise ValueError(f"there is no question {question!r} in configs/cifar10_batch.py: it must be norm or sgd")
    config = cifar10.get_config()
    config.epochs = 6
    config.data.batch_size = 32
    config.data.train_size = 20480
    del config.data.augment.random_translation

    config.sweep = base.get_sweep()
    config.sweep.tuner = "racing"
    config.sweep.executions = 4
    config.sweep.seed = 0
    config.sweep.executor = "processes"
    config.sweep.parallel = 2

    space = config.sweep.space
    if question == "norm":
        config.sweep.max_trials = 27
        space.model.norm = choice("batch", "ghost_batch", "group", "layer", "instance", "none")
        space.model.virtual_batch_size = by("model.norm", ghost_batch=choice(2, 4, 8, 16))
        space.optimizer.learning_rate = choice(0.03, 0.1, 0.3, role="nuisance")
    else:
        config.sweep.max_trials = 48
        space.model.norm = choice("batch", "group", "layer", "none")
        space.data.batch_size = choice(2, 8, 32, 128)
        rates = {"2": choice(0.003, 0.01, 0.03), "8": choice(0.01, 0.03, 0.1)}
        rates |= {"32": choice(0.03, 0.1, 0.3), "128": choice(0.1, 0.3, 1.0)}
        space.optimizer.learning_rate = by("data.batch_size", role="nuisance", **rates)
    return config
