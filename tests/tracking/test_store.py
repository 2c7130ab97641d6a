"""What the store says of itself."""

import pytest

from gensweep.tracking.store import ui_command


@pytest.mark.parametrize(
    ("uri", "command"),
    [
        ("sqlite:///{here}/mlflow.db", "mlflow ui"),
        ("sqlite:///mlflow.db", "mlflow ui"),
        ("sqlite:///{here}/runs/my store.db", "mlflow ui --backend-store-uri 'sqlite:///./runs/my store.db'"),
    ],
)
def test_the_command_that_shows_a_local_store_holds_in_a_copy_of_the_folder(uri, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(here=tmp_path))
    assert ui_command() == command
