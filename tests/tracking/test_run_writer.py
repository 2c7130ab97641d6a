"""Requests that bring a run up to date, where they are not as plain as they look."""

import pytest
from PIL import Image

from gensweep.tracking import store as store_module
from gensweep.tracking.run_writer import RunWriter
from gensweep.tracking.store import experiment_id

STRANGE = "a b #1 100% %20 what? it's é ☃"


@pytest.fixture
def strange(store, tmp_path, monkeypatch):
    """A current folder whose name holds what URLs take for something else."""
    folder = tmp_path / STRANGE
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"of {STRANGE}")
    return folder


def test_files_go_into_the_folder_whatever_its_name_and_a_checkpoint_is_gone_when_it_is_dropped(strange):
    client = store_module.client()
    run = client.create_run(experiment_id(client, create=True))
    writer = RunWriter(client, run)
    (strange / "made").mkdir()
    (strange / "made" / "checkpoint.json").write_text("{}")
    writer.log_text("said", "config.yaml")
    writer.keep_checkpoint(strange / "made", "100")
    assert [each.name for each in strange.parent.iterdir() if each.name != "cache"] == [STRANGE]
    (kept,) = strange.glob("mlruns/*/models/*/artifacts/data/made/checkpoint.json")
    assert client.download_artifacts(run.info.run_id, "config.yaml", str(strange)).startswith(str(strange))
    writer.drop_checkpoint()
    assert not kept.parent.exists()
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["config.yaml"]


def test_a_picture_that_cannot_be_read_is_told_and_holds_nothing_up(store, tmp_path, caplog):
    client, file = store_module.client(), tmp_path / "samples.png"
    run = client.create_run(experiment_id(client, create=True))
    writer = RunWriter(client, run)
    Image.new("RGB", (64, 64)).save(file)
    whole = file.read_bytes()
    for images, content in enumerate((b"", whole[:60], whole)):
        file.write_bytes(content)
        writer.log_picture(file, "samples", images, 0)
    assert caplog.text.count(f"the picture {file} cannot be read") == 2
    shown = [item.path for item in client.list_artifacts(run.info.run_id, "images") if item.path.endswith(".png")]
    assert [path.split("+")[2] for path in shown] == ["2"]
