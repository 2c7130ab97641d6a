"""Mean and covariance of real images in a pytorch-fid file: numpy's .npz with `mu` and `sigma`."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from gensweep.errors import ConfigError
from gensweep.files import file_sha256
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.moments import Moments

STATISTICS_SUFFIX = ".npz"
#: Number of images, missing in the file; the distance does not depend on it.
ASSUMED_IMAGES = 1_000_000
#: Largest asymmetry of sigma, relative to its largest value.
SYMMETRY_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Statistics:
    """A reference of moments only; `name` is the `reference` of an Identity."""

    name: str
    moments: Moments


def read_statistics(file: Path, extractor: Extractor) -> Statistics:
    """Statistics from another program; they must be of the features of `extractor`.

    Raises ConfigError for an invalid file.
    """
    values = _arrays(file)
    mu, sigma = values["mu"], values["sigma"]
    d = extractor.num_features
    if mu.shape != (d,) or sigma.shape != (d, d):
        raise ConfigError(
            f"{file}: mu and sigma have the shapes {mu.shape} and {sigma.shape}, but {extractor.id.partition('/')[0]} "
            f"has {d} features; choose the extractor that they were made with"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ConfigError(f"{file}: mu or sigma holds NaN or infinite numbers; compute it again")
    if np.abs(sigma - sigma.T).max() > SYMMETRY_TOLERANCE * np.abs(sigma).max() or sigma.diagonal().min() < 0:
        raise ConfigError(f"{file}: sigma is not a covariance matrix: it is not symmetric, or a variance is negative")
    return Statistics(f"{file.name}#{file_sha256(file)[:16]}", _moments(mu, sigma, ASSUMED_IMAGES))


def _arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise ConfigError(f"{file} is not a file; name statistics that pytorch-fid wrote")
    try:
        with np.load(file, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files if name in ("mu", "sigma")}
            held = ", ".join(stored.files)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ConfigError(f"{file} cannot be read as {STATISTICS_SUFFIX}: {error}") from error
    if missing := [name for name in ("mu", "sigma") if name not in values]:
        raise ConfigError(
            f"{file} holds {held or 'nothing'}, but no {' and no '.join(missing)}; "
            "statistics have pytorch-fid's layout: mu and sigma"
        )
    return {name: array.astype(np.float64) for name, array in values.items()}


def _moments(mu: Float64[np.ndarray, " d"], sigma: Float64[np.ndarray, "d d"], count: int) -> Moments:
    moments = Moments(len(mu))
    mean, covariance = torch.from_numpy(mu), torch.from_numpy(sigma)
    moments.state[0] = count
    moments.total.copy_(mean * count)
    moments.outer.copy_((covariance + covariance.T) / 2 * (count - 1) + torch.outer(mean, mean) * count)
    return moments
