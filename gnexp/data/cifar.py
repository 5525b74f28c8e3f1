"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as their python versions hold them: an archive, or its unpacked batches."""

import dataclasses
import io
import pathlib
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnexp.data import keras_files

_SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class Cifar:
    """One of the two datasets.

    Attributes:
      name: in words.
      folder: what the archive unpacks to, and the folder that Keras unpacks it into.
      archives: the archive's name, and those under which Keras has it.
      sha256: the archive's sum.
      train, test: the batches.
      md5: the sum of each file; a pickle is not read before its sum is checked.
      labels: the key of the labels in a batch.
    """

    name: str
    folder: str
    archives: Sequence[str]
    sha256: str
    train: Sequence[str]
    test: Sequence[str]
    md5: Mapping[str, str]
    labels: bytes

    def find(self, directory: str) -> pathlib.Path:
        """Returns the archive or the folder of batches of the first place that has either; downloads the archive.

        Args:
          directory: a config's `data.directory`.

        Raises:
          UnavailableError: it is not on this machine, and cannot be downloaded.
        """
        inside = (self.folder, f"{self.folder}-target/{self.folder}")
        for folder in keras_files.folders(directory, [self.name.lower().replace("-", "")]):
            for place in (folder, *(folder / name for name in inside)):
                if (place / self.train[0]).is_file() and (place / self.test[0]).is_file():
                    return place
            for name in self.archives:
                if (folder / name).is_file():
                    return folder / name
        archive = self.archives[0]
        wanted = {archive: (f"https://www.cs.toronto.edu/~kriz/{archive}", self.sha256)}
        return keras_files.download(self.name, wanted, "", keras_files.elsewhere(directory))[0]

    def files(self, place: pathlib.Path) -> dict[str, dict[bytes, Any]]:
        """Returns what the files of a folder or an archive hold, by their names.

        Raises:
          UserError: one cannot be read, or is damaged.
        """
        if place.is_dir():
            contents = {name: keras_files.verified(place / name, md5) for name, md5 in self.md5.items()}
        else:
            with tarfile.open(fileobj=io.BytesIO(keras_files.verified(place, self.sha256))) as archive:
                contents = {name: archive.extractfile(f"{self.folder}/{name}").read() for name in self.md5}
        return {name: pickle.loads(content, encoding="bytes") for name, content in contents.items()}

    def splits(self, files: Mapping[str, dict[bytes, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns the images and labels for training and for the test."""
        return {"train": self._split(files, self.train), "test": self._split(files, self.test)}

    def _split(self, files: Mapping[str, dict[bytes, Any]], batches: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([files[name][b"data"] for name in batches])
        labels = np.concatenate([files[name][self.labels] for name in batches]).astype(np.int32)
        images = rows.reshape(-1, _SHAPE[2], *_SHAPE[:2]).transpose(0, 2, 3, 1)  # stored channel by channel
        return np.ascontiguousarray(images), labels
