"""The paper's Figure 1 on CIFAR-10 with a small ResNet: what small batches do to BatchNorm, and not to GroupNorm.

Run:      python -m gnexp.train --config=configs/cifar10_batch.py:norm --workdir=runs/cifar10_batch_norm
          python -m gnexp.train --config=configs/cifar10_batch.py:sgd --workdir=runs/cifar10_batch_sgd
          python -m gnexp.report --workdir=runs/cifar10_batch_norm
Time:     races of 18 and of 24 settings; `--dry_run` estimates it.

norm: the optimizer's batch is always 64, and only the images that share their statistics are fewer: ghost batches of 2,
4, 8 and 16. That is what the paper varies, whose batch is spread over 8 GPUs.
sgd: the batch itself is 2, 8, 32 or 128, as where memory is short. All see the same images, so that small batches take
more steps.

ResNet-8 has 8 epochs of 10,240 images, which are short for such a network: its errors are those of a beginning. The
learning rate is tuned for each norm and each batch, on held-out images.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import by, choice


def get_config(question: str = "norm") -> ConfigDict:
    """Returns a race over the config of cifar10.py, shortened.

    Args:
      question: "norm" or "sgd".
    """
    if question not in ("norm", "sgd"):
        raise ValueError(f"there is no question {question!r} in configs/cifar10_batch.py: it must be norm or sgd")
    config = cifar10.get_question("batch")
    space = config.sweep.space
    if question == "norm":
        config.sweep.max_trials = 18
        space.model.norm = choice("batch", "ghost_batch", "group", "layer", "instance", "none")
        space.model.virtual_batch_size = by("model.norm", ghost_batch=choice(2, 4, 8, 16))
        space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    else:
        config.data.batch_size = 32
        config.sweep.max_trials = 24
        space.model.norm = choice("batch", "group", "none")
        space.data.batch_size = choice(2, 8, 32, 128)
        rates = {"2": choice(0.01, 0.03), "8": choice(0.03, 0.1), "32": choice(0.1, 0.3), "128": choice(0.1, 0.3)}
        space.optimizer.learning_rate = by("data.batch_size", role="nuisance", **rates)
    return config
