"""The original project's five trainings of one network on Fashion-MNIST, and the one that it left out.

Run:      python -m gnexp.train --config=configs/original.py:gn8_amsgrad_bs128 --workdir=runs/original/gn8_amsgrad_bs128
          and likewise for bn_bs1, gn8_bs1, in_bs1, gn8_amsgrad_bs1, instance_bs1 (`RUNS`, below)
Time:     on one CPU core, 250 s for the shortest epoch at batch size 1 and 67 s at 128, which makes 54 and 44 minutes;
          beside other work, the trainings took one to two hours.
Accuracy: 93.1% with gn8_amsgrad_bs128 (seed 0, best epoch), 92.9% with gn8_amsgrad_bs1; results/README.md has all.

As in the original, all 60,000 training images are trained on, and the 10,000 test images are the validation set: they
set the learning rate and choose the best epoch, so that the best accuracy is optimistic.

What differs is what Keras changed after March 2018. With a patience of 3, its ReduceLROnPlateau cut the learning rate
at the fourth epoch without a lower validation loss, where today's does at the third (keras-team/keras#9541), and its
he_normal had a standard deviation 12% smaller (keras-team/keras#9963). An early version of the original's layer
took its statistics over each row of the image and all channels, a later one over the groups. Its notebook does not say
which of the two was trained.
"""

from ml_collections import ConfigDict

from gnexp.config import base

# in_bs1 is what the original called instance normalization: one mean and deviation per sample over all channels, a
# scalar gamma and beta. instance_bs1 is instance normalization, which it never trained.
RUNS = {
    "bn_bs1": {"model": {"norm": "batch", "epsilon": 1e-3}},
    "gn8_bs1": {},
    "in_bs1": {"model": {"norm": "instance_scalar", "epsilon": 1e-3}},
    "instance_bs1": {"model": {"norm": "instance"}},
    "gn8_amsgrad_bs1": {"optimizer": {"name": "amsgrad"}},
    "gn8_amsgrad_bs128": {"optimizer": {"name": "amsgrad"}, "data": {"batch_size": 128}, "epochs": 39},
}


def get_config(run: str = "gn8_amsgrad_bs128") -> ConfigDict:
    """Returns the base config, as the original trained it.

    Args:
      run: a key of `RUNS`. What a run does not change is group normalization (8), Adam, batch size 1, 13 epochs.
    """
    if run not in RUNS:
        raise ValueError(f"there is no run {run!r} in configs/original.py: it must be one of {', '.join(RUNS)}")
    config = base.get_config()
    config.epochs = 13
    config.data.fallback = ""
    config.data.batch_size = 1
    config.data.validation = "test"
    config.optimizer.name = "adam"
    config.update(RUNS[run])
    return config
