"""scikit-learn's digits, in the shape of Fashion-MNIST."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gnexp.data.splits import SHAPE


def read() -> Mapping[str, Any]:
    """Returns training and test digits as a dataset's function does, with the same share of each class in both."""
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
    return {"train": (train_x, train_y), "test": (test_x, test_y), "labels": tuple("0123456789")}
