"""The original project's five trainings of one network on Fashion-MNIST, and the one that it left out.

Run:      python -m gnexp.train --config=configs/original.py:gn8_amsgrad_bs128 --workdir=runs/original/gn8_amsgrad_bs128
          and so for bn_bs1, gn8_bs1, in_bs1, gn8_amsgrad_bs1, instance_bs1 (`RUNS`, below)
Time:     on one CPU core, in the shortest epochs, 250 s at batch size 1 and 67 s at 128: 54 and 44 minutes; one to two
          hours were taken, beside other work.
Accuracy: 93.1% with gn8_amsgrad_bs128 (seed 0, best epoch), 92.9% with gn8_amsgrad_bs1; results/README.md has all.

As there, all 60,000 training images are trained on, and the 10,000 test images are the validation set: they set the
learning rate and choose the best epoch, so that the best accuracy flatters.

What differs is what Keras changed after March 2018. Its ReduceLROnPlateau cut the learning rate at the fourth epoch
without a fall of the validation loss where today's does at the third, for a patience of 3 (keras-team/keras#9541), and
its he_normal had a standard deviation 12% smaller (keras-team/keras#9963). Of the original's layer, an early version
took the statistics of each row of the image over all channels, a later one those of the groups: which one was trained,
its notebook does not say.
"""

from ml_collections import ConfigDict

from configs import fmnist

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
    """Returns the experiment of fmnist.py, as the original trained it.

    Args:
      run: a key of `RUNS`. What a run does not change is group normalization (8), Adam, batch size 1, 13 epochs.
    """
    if run not in RUNS:
        raise ValueError(f"there is no run {run!r} in configs/original.py: it must be one of {', '.join(RUNS)}")
    config = fmnist.get_config()
    config.epochs = 13
    config.data.fallback = ""
    config.data.batch_size = 1
    config.data.validation = "test"
    config.optimizer.name = "adam"
    config.update(RUNS[run])
    return config
