"""Made-up sweeps in a store of their own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with an empty MLflow store, which is the current folder."""
    from made_up import mlflow_store

    with mlflow_store(tmp_path_factory.mktemp("store")) as folder:
        yield folder
