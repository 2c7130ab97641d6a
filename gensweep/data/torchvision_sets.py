"""Data sets that torchvision reads and fetches, by class name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import numpy as np
from annotated_types import doc
from jaxtyping import Int64, UInt8

from gensweep.data.images import (
    DATASETS,
    FETCHERS,
    NAMED_DATASETS,
    SPLIT_WORDS,
    Classes,
    Images,
    Limit,
    Size,
    Split,
    select,
)
from gensweep.data.picture_files import cached_pictures
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import locked

TorchvisionName: TypeAlias = Literal["MNIST", "FashionMNIST", "KMNIST", "SVHN", "STL10", "CelebA"]
Arrays: TypeAlias = tuple[UInt8[np.ndarray, "n c h0 w0"], Int64[np.ndarray, " n"], tuple[str, ...]]

#: Data sets whose mirrored pictures look like the data: no digits, no letters, no shoes that all point left.
MIRRORED = ("STL10", "CelebA")


@DATASETS.register("torchvision")
def torchvision_images(
    split: Split,
    root: Path,
    *,
    dataset: Annotated[TorchvisionName, doc("name of the data set")],
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    flip: Annotated[
        bool | None,
        doc(
            "mirror images at random in training; null: only STL10 and CelebA, whose mirrored images look like the data"
        ),
    ] = None,
) -> Images:
    """Data sets by torchvision: MNIST, FashionMNIST, KMNIST, SVHN, STL10 and CelebA, fetched once by name.

    Images are resized to `size`; CelebA's faces are one class, cropped to the central square.
    Raises ConfigError if it was not fetched, GensweepError if its files are damaged.
    Source: torchvision.datasets, which lists the authors.
    """
    found = _celeba(split, root, size, limit) if dataset == "CelebA" else _read(dataset, split, root)
    flipped = dataset in MIRRORED if flip is None else flip
    name = f"{dataset}/{split}"
    return select(*found, name=name, classes=classes, limit=limit, size=size, flip=flipped)


def folder_of(root: Path) -> Path:
    """Folder of torchvision's data sets in a cache folder."""
    return root / "torchvision"


def opened(dataset: str, root: Path, *, download: bool = False, **settings: Any) -> Any:
    """Load the data set.  Raises ConfigError if it was not fetched, GensweepError if it is damaged."""
    from torchvision import datasets

    try:
        return getattr(datasets, dataset)(folder_of(root), download=download, **settings)
    except (RuntimeError, OSError, ValueError) as error:
        if not download and "not found" in str(error).lower():
            raise ConfigError(f"{dataset} is not in {folder_of(root)}; run: gensweep data fetch {dataset}") from None
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        if download:
            raise GensweepError(
                f"{dataset} could not be fetched ({cause}); copy the files that torchvision has elsewhere into "
                f"{folder_of(root)}"
            ) from error
        raise GensweepError(
            f"{dataset} in {folder_of(root)} cannot be read ({cause}); to fetch it again, remove its files and run: "
            f"gensweep data fetch {dataset}"
        ) from error


def _read(dataset: str, split: Split, root: Path) -> Arrays:
    """A data set of arrays.  MNIST-like sets have classes like "0 - zero"; SVHN has no names."""
    found = opened(dataset, root, **_part(dataset, split))
    names = tuple(name.partition(" - ")[0] for name in getattr(found, "classes", "0123456789"))
    if dataset.endswith("MNIST"):
        return found.data.numpy()[:, None], found.targets.numpy().astype(np.int64), names
    return found.data, found.labels.astype(np.int64), names


def _celeba(split: Split, root: Path, size: int, limit: int | None) -> Arrays:
    found = opened("CelebA", root, split=split)
    folder = Path(found.root) / found.base_folder / "img_align_celeba"
    use = {"size": size, "channels": 3, "limit": limit, "split": split}
    decoded = cached_pictures(folder, dict.fromkeys(found.filename, 0), root, use)
    if decoded.unreadable:
        raise GensweepError(
            f"{folder}: {len(decoded.unreadable)} pictures are unreadable; run: gensweep data fetch CelebA"
        )
    return decoded.pixels, decoded.labels, ("face",)


def _part(dataset: str, split: str) -> dict[str, Any]:
    """The name of a split in torchvision."""
    return {"train": split == "train"} if dataset.endswith("MNIST") else {"split": split}


def _fetcher(dataset: str) -> Callable[..., Path]:
    def fetch(root: Path, *, source: Path | None = None, report: Callable[[str], None] = lambda line: None) -> Path:
        """Let torchvision fetch a data set into the cache folder and check it.

        Raises ConfigError if `source` is given, GensweepError if fetching fails.
        """
        folder = folder_of(root)
        if source is not None:
            raise ConfigError(f"--from is for cifar10; copy the files of {dataset} that torchvision has into {folder}")
        with locked(folder):
            for split in SPLIT_WORDS:
                opened(dataset, root, download=True, **_part(dataset, split))
        report(f"{dataset} is complete")
        return folder

    return fetch


for _name in get_args(TorchvisionName):
    FETCHERS.register(_name)(_fetcher(_name))
    NAMED_DATASETS[_name] = ("torchvision", {"dataset": _name})
