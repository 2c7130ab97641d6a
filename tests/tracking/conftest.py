"""Made-up sweeps in a store of their own."""

import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with an empty MLflow store, which is the current folder."""
    from made_up import mlflow_store

    with mlflow_store(tmp_path_factory.mktemp("store")) as folder:
        yield folder
