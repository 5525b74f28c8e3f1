"""CIFAR-100, with its 100 classes: the archive or its batches."""

from collections.abc import Mapping
from typing import Any

from gnexp.data.cifar import Cifar

_CIFAR = Cifar(
    name="CIFAR-100",
    folder="cifar-100-python",
    archives=("cifar-100-python.tar.gz", "cifar-100-python-target_archive"),
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    train=("train",),
    test=("test",),
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
    labels=b"fine_labels",
)


def check(directory: str) -> None:
    """Makes sure that a form of it is on this machine; raises UnavailableError if it cannot be downloaded either."""
    _CIFAR.find(directory)


def read(data_directory: str = "") -> Mapping[str, Any]:
    """Returns training and test images as a dataset's function does.

    Args:
      data_directory: a config's `data.directory`.

    Raises:
      UserError: a file is damaged, or the dataset is not available.
    """
    files = _CIFAR.files(_CIFAR.find(data_directory))
    return {**_CIFAR.splits(files), "labels": tuple(name.decode() for name in files["meta"][b"fine_label_names"])}
