"""Handwritten digits: 1,797 real grey images of 8 x 8 pixels that ship with scikit-learn; no download needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from gensweep.data.images import DATASETS, Classes, Flip, Images, Limit, Size, Split, select
from gensweep.errors import GensweepError


@DATASETS.register("digits")
def digits(
    split: Split, root: Path, *, classes: Classes = None, limit: Limit = None, size: Size = 32, flip: Flip = False
) -> Images:
    """Handwritten digits: 1,797 real grey images in ten classes, included with scikit-learn.

    The source's values 0..16 become 0..255, and the 8 x 8 pixels are interpolated bilinearly to `size`.
    The test split is the last fifth of each class in file order, mostly written by other people.
    Raises GensweepError if scikit-learn is not installed.
    Source: E. Alpaydin & C. Kaynak, UCI optical recognition of handwritten digits, through scikit-learn.
    """
    # Read the installed file directly: importing scikit-learn costs each process a second.
    installed = importlib.util.find_spec("sklearn")
    file = Path(installed.origin or "" if installed else "").parent / "datasets" / "data" / "digits.csv.gz"
    try:
        rows = np.loadtxt(file, delimiter=",")
    except OSError as error:
        raise GensweepError(f"the digits are missing ({error}); run: pip install scikit-learn") from error
    values, labels = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
    pixels = np.rint(values * (255 / 16)).astype(np.uint8)
    kept = _is_test(labels) == (split == "test")
    names, name = tuple("0123456789"), f"digits/{split}"
    return select(pixels[kept], labels[kept], names, name=name, classes=classes, limit=limit, size=size, flip=flip)


def _is_test(labels: np.ndarray) -> np.ndarray:
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        test[members[len(members) * 4 // 5 :]] = True
    return test
