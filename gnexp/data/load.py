"""The datasets by name, and the images that are held out.

Each dataset is a module with `LABELS`, `check(directory)` and `load(directory)`.
"""

from ml_collections import ConfigDict

from gnexp.data import digits, fashion_mnist
from gnexp.data.splits import Split, Splits, UnavailableError
from gnexp.errors import UserError
from gnexp.terminal import places

_DATASETS = {"fashion_mnist": fashion_mnist, "digits": digits}


def available(config: ConfigDict) -> tuple[str, str]:
    """Returns the name of the dataset to train on, and why it is not the one asked for ("" if it is).

    Downloads a dataset that is not on this machine.

    Args:
      config: a config's `data` section.

    Raises:
      UserError: a file is damaged, `config.directory` is no folder, or `config.name` is not available and
        `config.fallback` names no other dataset.
    """
    _check_directory(config.directory)
    try:
        _DATASETS[config.name].check(config.directory)
    except UnavailableError as error:
        if config.fallback in ("", config.name):
            raise
        return config.fallback, str(error)
    return config.name, ""


def load(config: ConfigDict) -> Splits:
    """Reads the dataset `config.name` and holds its validation split out.

    Args:
      config: a config's `data` section. `validation` is a fraction or a count of the training images, taken from
        their end (both datasets come shuffled), or "test" for the test images themselves. Of the rest, the first
        `train_size` are trained on, or all if it is 0.

    Raises:
      UserError: the dataset is not available, a file is damaged, or there are too few images.
    """
    _check_directory(config.directory)
    dataset = _DATASETS[config.name]
    train, test = (Split(*pair) for pair in dataset.load(config.directory))
    labels = dataset.LABELS
    if config.validation == "test":
        return Splits(_first(train, config), test, test, labels)
    total = len(train)
    held_out = config.validation if isinstance(config.validation, int) else round(config.validation * total)
    if not 0 < held_out < total:
        raise UserError(
            f"config.data.validation={config.validation} is not allowed: of the {total} training images of "
            f"{config.name}, at least one must be held out and at least one left"
        )
    kept = total - held_out
    return Splits(
        _first(train.part(slice(kept)), config),
        train.part(slice(kept, None)),
        test,
        labels,
    )


def _check_directory(directory: str) -> None:
    """Refuses a folder that does not exist, also for a dataset that needs none: its user means another dataset."""
    if directory and not places.expanded("config.data.directory", directory).is_dir():
        raise UserError(f"config.data.directory={directory!r} is not allowed: there is no such folder")


def _first(train: Split, config: ConfigDict) -> Split:
    count = config.train_size or len(train)
    if count > len(train):
        raise UserError(
            f"config.data.train_size={count} is not allowed: there are {len(train)} images of {config.name} to "
            "train on; 0 takes them all"
        )
    return train.part(slice(count))
