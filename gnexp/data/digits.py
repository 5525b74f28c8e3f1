"""scikit-learn's digits, in the shape of Fashion-MNIST."""

import numpy as np

from gnexp.data.splits import SHAPE

LABELS = tuple("0123456789")


def check(directory: str) -> None:
    """Does nothing: the digits come with scikit-learn, whatever a config's `data.directory` is."""


def load(directory: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns training and test digits, each a pair (images, labels), with the same share of each class in both.

    Args:
      directory: ignored.
    """
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    small, labels = load_digits(return_X_y=True)
    images = np.stack(
        [
            np.asarray(Image.fromarray(image).resize(SHAPE[:2], Image.Resampling.BILINEAR))
            for image in (small.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
        ]
    )[..., np.newaxis]
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels.astype(np.int32), test_size=0.2, random_state=0, stratify=labels
    )
    return (train_x, train_y), (test_x, test_y)
