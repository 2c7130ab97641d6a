"""Statistics in files of pytorch-fid."""

from pathlib import Path

import numpy as np
import pytest
from real_features import features
from torch import nn

from gensweep.errors import ConfigError
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.metric import FrechetDistance
from gensweep.metrics.moments import Moments
from gensweep.metrics.statistics import Statistics, read_statistics


def extractor(d: int = 5, id: str = "made_up/5/sha256:1") -> Extractor:
    return Extractor(nn.Flatten(), lambda x: x.float(), id=id, num_features=d)


def distance(reference) -> float:
    metric = FrechetDistance(reference)
    metric.update(features(50, 5, 4))
    return metric.compute()


def test_a_file_of_pytorch_fid_is_taken(tmp_path: Path):
    """It calls np.savez_compressed(path, mu=m1, sigma=s1) and nothing else."""
    x = features(300, 5, 1).double().numpy()
    np.savez_compressed(tmp_path / "theirs.npz", mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    found = read_statistics(tmp_path / "theirs.npz", extractor())
    assert found.name.startswith("theirs.npz#")
    assert distance(found) == pytest.approx(distance(Statistics("", Moments.of(features(300, 5, 1)))), rel=1e-9)


def save(file: Path, **arrays) -> Path:
    np.savez(file, **arrays)
    return file


BAD = {
    "is not a file; name statistics": {},
    "holds mean, but no mu and no sigma; statistics have pytorch-fid's layout": {"mean": np.zeros(5)},
    r"shapes \(4,\) and \(5, 5\), but made_up has 5 features; choose": {"mu": np.zeros(4), "sigma": np.eye(5)},
    "holds NaN or infinite numbers": {"mu": np.full(5, np.nan), "sigma": np.eye(5)},
    "not a covariance matrix": {"mu": np.zeros(5), "sigma": np.arange(25.0).reshape(5, 5)},
}


@pytest.mark.parametrize("words", BAD)
def test_what_is_wrong_with_a_file_is_told_in_a_line(words: str, tmp_path: Path):
    file = tmp_path / "bad.npz"
    if BAD[words]:
        save(file, **BAD[words])
    with pytest.raises(ConfigError, match=words) as caught:
        read_statistics(file, extractor())
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_told_in_a_line(tmp_path: Path):
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(ConfigError, match=r"text\.npz cannot be read as \.npz"):
        read_statistics(tmp_path / "text.npz", extractor())
    np.savez(tmp_path / "pickled.npz", mu=np.array([object()], dtype=object), sigma=np.eye(5))
    with pytest.raises(ConfigError, match=r"pickled\.npz cannot be read as \.npz"):
        read_statistics(tmp_path / "pickled.npz", extractor())
