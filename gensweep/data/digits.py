"""Handwritten digits: 1,797 real grey images of 8 x 8 pixels that ship with scikit-learn, so no download is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gensweep.data.images import DATASETS, ClassNames, Images, Limit, Size, Split, select


@DATASETS.register("digits")
def digits(
    split: Split,
    root: Path,
    *,
    classes: ClassNames | None = None,
    limit: Limit | None = None,
    size: Size = 32,
    flip: bool = False,
) -> Images:
    """Handwritten digits, embedded: 1,797 real grey images in ten classes.

    The values 0..16 of the source become 0..255, and the 8 x 8 pixels are interpolated bilinearly to `size`.
    The test split is the last fifth of each class in file order; the people who wrote it are mostly other people.
    Source: E. Alpaydin & C. Kaynak, UCI optical recognition of handwritten digits, through scikit-learn.
    """
    # Only this function needs scikit-learn, and importing it takes a second.
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = data.target.astype(np.int64)
    kept = _is_test(labels) == (split == "test")
    names, name = tuple("0123456789"), f"digits/{split}"
    return select(pixels[kept], labels[kept], names, name=name, classes=classes, limit=limit, size=size, flip=flip)


def _is_test(labels: np.ndarray) -> np.ndarray:
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        test[members[len(members) * 4 // 5 :]] = True
    return test
