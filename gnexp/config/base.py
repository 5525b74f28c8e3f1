"""The config that others start from: the original project's network and data, and a sweep's section.

    from gnexp.config import base


    def get_config():
        config = base.get_config()
        config.model.name = "nets:unet"  # the function `unet` of `nets.py`, beside this file
        config.model.args.width = 32
        return config

Every value can be changed from the command line as well: --config.model.groups=4
"""

from ml_collections import ConfigDict, FieldReference

from gnexp.config.named import Named


def get_config() -> ConfigDict:
    """Returns a training on Fashion-MNIST; gnexp/config/schema.py says what each value may be."""
    config = ConfigDict()
    config.seed = 0
    config.epochs = 13
    config.objective = "val_accuracy"  # chooses the best epoch; or val_loss, or another figure of the task
    config.direction = ""  # max or min: of an objective of your own
    config.patience = 0  # end after as many epochs without a better objective; 0 is off
    config.deterministic = True  # the same figures to the last bit, run after run, on a CPU
    config.precision = "float32"  # or mixed_float16, mixed_bfloat16
    config.jit_compile = False  # XLA: for GPUs, with deterministic = False; on a CPU it is several times slower
    config.native = True  # norms by a C++ kernel, with TensorFlow on a CPU and a compiler; ignored elsewhere

    config.data = _data()

    # Keras's layers that change training images at random: config.data.augment.random_flip = {"mode": "horizontal"}
    config.data.augment = ConfigDict()

    config.task = Named()
    config.task.name = "classification"  # or multilabel, segmentation, regression, or your own: "package.module:Class"
    config.task.args = ConfigDict()
    config.task.loss = ""  # another loss: of Keras, or "package.module:function"
    config.task.figures = ()  # further figures, likewise
    config.task.label_smoothing = 0.0
    config.task.top_k = 0
    config.task.class_weight = FieldReference("", field_type=object)  # or "balanced", or a number for each class

    config.model = Named()
    config.model.name = "cnn"  # or mlp, resnet, unet, or a function of your own: "package.module:function"
    config.model.args = ConfigDict()  # its keyword arguments; what is not given has the function's default
    config.model.norm = "group"  # or batch, layer, instance, instance_scalar, none, frozen_batch, ghost_batch, keep
    config.model.groups = 8  # for group: must divide the channels of every norm; -1 is a group per channel
    config.model.groups_fit = "exact"  # or gcd: the greatest common divisor, where groups does not divide the channels
    config.model.channels_per_group = 0  # instead of groups, unless 0
    config.model.epsilon = 1e-6  # for every norm; Keras's own BatchNormalization has 1e-3
    config.model.momentum = 0.99  # of the moving averages of batch and ghost_batch
    config.model.virtual_batch_size = 32  # ghost_batch only: images that share their statistics
    config.model.weight_standardization = False

    config.optimizer = ConfigDict()
    config.optimizer.name = "amsgrad"  # or adam, adamw, sgd, rmsprop, lion
    config.optimizer.learning_rate = 1e-3
    config.optimizer.momentum = 0.9  # sgd only
    config.optimizer.nesterov = False  # sgd only
    config.optimizer.weight_decay = 4e-3  # adamw only
    config.optimizer.decay_norms = True  # false leaves biases and the norms' gamma and beta undecayed

    config.schedule = ConfigDict()
    config.schedule.name = "plateau"  # or constant, cosine
    config.schedule.warmup_epochs = 1.0  # cosine only
    config.schedule.factor = 0.2  # plateau: the learning rate times this ...
    config.schedule.patience = 3  # ... after this many epochs without a better figure of these:
    config.schedule.watch = "val_loss"
    config.schedule.min_learning_rate = 1e-5  # the floor of plateau and cosine
    return config


def _data() -> Named:
    data = Named()
    # Or digits, mnist, cifar10, cifar100, image_folder, image_pairs, arrays, or a function: "package.module:function".
    data.name = "fashion_mnist"
    data.args = ConfigDict()  # its keyword arguments
    data.fallback = "digits"  # used, with a loud warning, if `name` is not available; '' makes that an error
    data.directory = ""  # where the files are; '' looks in $GNEXP_DATA_DIR and Keras's cache, and downloads them
    data.batch_size = 128
    data.train_size = 0  # train only on the first images, as many as this; 0 takes all
    # Held out from the training set: a fraction or a count. "test" validates on the test set, as the original did.
    data.validation = FieldReference(0.1, field_type=object)
    data.test = FieldReference(0.2, field_type=object)  # likewise, where the data has no test set of its own
    data.split_seed = 0  # of what is held out; -1 holds out the last images
    data.memory = FieldReference("", field_type=object)  # such as "2GB": larger data is read while training
    return data


def get_sweep() -> ConfigDict:
    """Returns a `sweep` section; what is searched (gnexp/space/entries.py) goes into its empty `space`."""
    sweep = ConfigDict()
    sweep.tuner = "random"  # or grid, bayesian, hyperband, racing
    sweep.max_trials = 30
    sweep.own_first = True  # the first trial has the config's own values, with which all is compared
    sweep.executions = 1  # trainings of each trial, with the seeds config.seed, config.seed + 1, ...
    sweep.max_failures = 5  # the sweep stops if its first trials, as many as this, all fail
    sweep.seed = 1  # of the tuner
    sweep.max_epochs = 0  # racing only: of all trainings together; 0 is no limit
    sweep.max_seconds = 0.0  # racing only: of training, added up where it is side by side; 0 is no limit
    sweep.precision = 0.01  # racing only: a difference of the objective that is too small to matter
    sweep.factor = 3  # hyperband only: each round keeps a third of the trials
    sweep.executor = "serial"  # one after the other; or side by side: processes on this machine, ray
    sweep.parallel = 1  # trials at a time
    sweep.resources = ConfigDict({"cpus": 1, "gpus": 0.0})  # of each trial, for ray; half a GPU is 0.5
    sweep.space = ConfigDict({"model": {"args": {}}, "data": {}, "optimizer": {}, "schedule": {}, "task": {}})
    return sweep
