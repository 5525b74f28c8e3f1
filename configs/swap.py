"""Swap the BatchNorm of a trained network for GroupNorm and go on training: does it get worse, and why?

Run:      for part in before after anew; do
            python -m gnexp.train --config=configs/swap.py:$part --workdir=runs/swap_$part
          done
          python -m gnexp.report --workdir=runs/swap_after
Time:     a training, and races of 12 and of 4 settings; `--dry_run` estimates it.

before: ResNet-8 with BatchNorm for 10 epochs of 10,240 images of CIFAR-10.
after: the same network with its weights for 10 more epochs: with its own BatchNorm (`keep`), with GroupNorm of 2 or 8
groups in its place, or without norms. The learning rate is tuned for each. What 1 and 3 epochs bring is in the history.
anew: GroupNorm and BatchNorm from the beginning, with as many epochs as `before`.
"""

from ml_collections import ConfigDict

from configs import cifar10
from gnexp.space import by, choice


def get_config(part: str = "after") -> ConfigDict:
    """Returns a training, or a race, over the config of cifar10.py, shortened.

    Args:
      part: "before", "after" or "anew".
    """
    if part not in ("before", "after", "anew"):
        raise ValueError(f"there is no part {part!r} in configs/swap.py: it must be before, after or anew")
    config = cifar10.get_question("batch")
    config.epochs = 10
    if part == "before":
        del config.sweep
    elif part == "anew":
        config.sweep.max_trials = 4
        config.sweep.space.model.norm = choice("batch", "group")
        config.sweep.space.optimizer.learning_rate = choice(0.1, 0.3, role="nuisance")
    else:
        config.model.name = "trained:network"
        config.model.args = ConfigDict({"path": "runs/swap_before/checkpoints/best.keras"})
        config.model.norm = "keep"
        config.sweep.max_trials = 12
        config.sweep.space.model.norm = choice("keep", "group", "none")
        config.sweep.space.model.groups = by("model.norm", group=choice(2, 8))
        config.sweep.space.optimizer.learning_rate = choice(0.01, 0.03, 0.1, role="nuisance")
    return config
