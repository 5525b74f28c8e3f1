"""Membranes in electron micrographs with a U-Net, at batch sizes 1, 2 and 4: what practitioners take GroupNorm for.

Run:      GNEXP_DATA_DIR=FOLDER python -m gnexp.train --config=configs/em_segmentation.py --workdir=runs/em_segmentation
          python -m gnexp.report --workdir=runs/em_segmentation
Data:     the 30 images with masks of the ISBI challenge of 2012 (Arganda-Carreras et al., Frontiers in Neuroanatomy
          9:142) in FOLDER/segmentation/train/image and FOLDER/segmentation/train/label, in files of the same names.
Time:     some 70 minutes on 2 CPU cores, two trials side by side: 36 trials of 3 seeds.
Accuracy: mean IoU on the test sections at batch size 1, 0.767 ± 0.006 with GroupNorm, 0.717 ± 0.038 with BatchNorm
          (results/em_segmentation/README.md).

The sections follow each other, so that neighbours are nearly alike: the last ones are held out, 5 to choose by and 5
to test on. The images are halved to 256 pixels a side. All batch sizes see the same images, 40 times, so that small
ones take more steps. The learning rate is tuned for each norm at each batch size. Frozen batch normalization has
nothing to be frozen at in a training from scratch: it only scales and shifts, and stands for no normalization at all.
"""

import os
import pathlib

from ml_collections import ConfigDict

from gnexp.config import base
from gnexp.space import choice

_FOLDER = pathlib.Path(os.environ.get("GNEXP_DATA_DIR", "."), "segmentation", "train").absolute()


def get_config() -> ConfigDict:
    """Returns a grid over the base config."""
    config = base.get_config()
    config.epochs = 40
    config.objective = "val_mean_iou"
    config.task.name = "segmentation"
    config.data.name = "image_pairs"
    config.data.args.images = str(_FOLDER / "image")
    config.data.args.masks = str(_FOLDER / "label")
    config.data.args.size = 256
    config.data.fallback = ""
    config.data.validation = 5
    config.data.test = 5
    config.data.split_seed = -1
    config.data.batch_size = 1
    config.data.augment.random_flip = {"mode": "horizontal_and_vertical"}
    config.model.name = "unet"
    config.model.args.width = 8
    config.model.groups = 4
    config.model.momentum = 0.9  # at batch size 4 there are 200 steps
    config.optimizer.name = "adam"
    config.schedule.name = "cosine"

    config.sweep = base.get_sweep()
    config.sweep.tuner = "grid"
    config.sweep.max_trials = 36
    config.sweep.executions = 3
    config.sweep.seed = 0
    config.sweep.executor = "processes"
    config.sweep.parallel = 2

    space = config.sweep.space
    space.model.norm = choice("batch", "frozen_batch", "group", "instance")
    space.data.batch_size = choice(1, 2, 4)
    space.optimizer.learning_rate = choice(1e-3, 3e-3, 1e-2, role="nuisance")
    return config
