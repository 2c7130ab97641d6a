"""Sweeps as text."""

import pytest

from gensweep.config import load_sweep
from gensweep.errors import ConfigError


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides, scale=None):
        file = tmp_path / "s.yaml"
        file.write_text(text)
        return load_sweep(file, overrides=overrides, scale=scale)

    return load


@pytest.fixture
def refused(load, tmp_path):
    def refused(text, *overrides, scale=None):
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides, scale=scale)
        return [problem.replace(str(tmp_path / "s.yaml"), "s") for problem in caught.value.problems]

    return refused
