"""Mean and covariance of real images in a file that other programs read and write, too: numpy's .npz.

pytorch-fid's layout is `mu` and `sigma`; gensweep adds what they are statistics of, which other programs ignore.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import file_sha256
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.moments import Moments

STATISTICS_SUFFIX = ".npz"
#: The number of images where the file does not give it; the distance does not depend on it.
ASSUMED_IMAGES = 1_000_000
#: sigma may differ from its transpose by this share of its largest value.
SYMMETRY_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Statistics:
    """A reference that is moments and nothing else; `name` is the `reference` of an Identity."""

    name: str
    moments: Moments


def check_name(file: Path) -> None:
    """Raise ConfigError if the name does not end in .npz."""
    if file.suffix != STATISTICS_SUFFIX:
        raise ConfigError(f"{file}: the name of statistics must end in {STATISTICS_SUFFIX}")


def write_statistics(file: Path, moments: Moments, name: str, extractor: Extractor) -> None:
    """Write moments with the name of their images and the id of their extractor.

    Raises ConfigError if the name of the file does not end in .npz, GensweepError if it cannot be written.
    """
    check_name(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file,
            mu=moments.mean.cpu().numpy(),
            sigma=moments.covariance.cpu().numpy(),
            count=np.int64(moments.count),
            reference=np.str_(name),
            extractor=np.str_(extractor.id),
        )
    except OSError as error:
        raise GensweepError(f"{file} cannot be written: {error}") from error


def read_statistics(file: Path, extractor: Extractor) -> Statistics:
    """Statistics that gensweep or another program has written; they must be of the features of `extractor`.

    Raises ConfigError that says what is wrong with the file.
    """
    values = _arrays(file)
    mu, sigma = values["mu"], values["sigma"]
    d = extractor.num_features
    theirs = str(values["extractor"]) if "extractor" in values else None
    if theirs is not None and theirs != extractor.id:
        raise ConfigError(f"{file} was made with the extractor {theirs}, and {extractor.id} is set; take that one")
    if mu.shape != (d,) or sigma.shape != (d, d):
        raise ConfigError(
            f"{file}: mu and sigma have the shapes {mu.shape} and {sigma.shape}, but {extractor.id.partition('/')[0]} "
            f"gives {d} features; take the extractor that they were made with"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ConfigError(f"{file}: mu or sigma holds NaN or infinite numbers; make it again")
    if np.abs(sigma - sigma.T).max() > SYMMETRY_TOLERANCE * np.abs(sigma).max() or sigma.diagonal().min() < 0:
        raise ConfigError(f"{file}: sigma is not a covariance matrix: it is not symmetric, or a variance is negative")
    name = str(values["reference"]) if "reference" in values else f"{file.name}#{file_sha256(file)[:16]}"
    return Statistics(name, _moments(mu, sigma, int(values.get("count", ASSUMED_IMAGES))))


def _arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise ConfigError(f"{file} is not a file; name statistics that gensweep data statistics or pytorch-fid wrote")
    try:
        with np.load(file, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ConfigError(f"{file} cannot be read as {STATISTICS_SUFFIX}: {error}") from error
    if missing := [name for name in ("mu", "sigma") if name not in values]:
        raise ConfigError(
            f"{file} holds {', '.join(values) or 'nothing'}, but no {' and no '.join(missing)}; "
            "statistics have pytorch-fid's layout: mu and sigma"
        )
    return values | {name: values[name].astype(np.float64) for name in ("mu", "sigma")}


def _moments(mu: Float64[np.ndarray, " d"], sigma: Float64[np.ndarray, "d d"], count: int) -> Moments:
    moments = Moments(len(mu))
    mean, covariance = torch.from_numpy(mu), torch.from_numpy(sigma)
    moments.state[0] = count
    moments.total.copy_(mean * count)
    moments.outer.copy_((covariance + covariance.T) / 2 * (count - 1) + torch.outer(mean, mean) * count)
    return moments
