"""A tiny CIFAR-10 in the official layout, with hashes to match."""

import hashlib

import numpy as np
import pytest

from gensweep.data import cifar10

RECORDS = 30


@pytest.fixture(scope="session")
def official() -> dict[str, bytes]:
    """The six binary files, with 30 records each instead of 10,000."""
    random = np.random.default_rng(0)
    files = {}
    for name in cifar10.SHA256:
        records = random.integers(0, 256, (RECORDS, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(RECORDS) % 10
        files[name] = records.tobytes()
    return files


@pytest.fixture
def tiny(official, monkeypatch) -> dict[str, bytes]:
    """The same, and the program takes it for the real one."""
    for name, data in official.items():
        monkeypatch.setitem(cifar10.SHA256, name, hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    return official
