"""What a worker does with a trial's reports, without Ray."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from list_reporter import ListReporter

from gensweep.remote_folder import RemoteFolder
from gensweep.results import Evaluation
from gensweep.sweep import worker
from gensweep.sweep.checkpoints import checkpoint_uri, store


def test_a_checkpoint_is_moved_into_the_storage(tmp_path, monkeypatch):
    """A worker's own disk holds one checkpoint at most, however many the sweep keeps."""
    monkeypatch.setattr(worker, "_rank", lambda: 0)
    monkeypatch.setattr(worker, "_agree", lambda ask: True)
    scratch, storage = tmp_path / "scratch", tmp_path / "storage"
    reporter = worker._QueueReporter(None, "runner", SimpleNamespace(trial="t0000", generation=1), str(storage))
    for images in (10, 20, 30):
        folder = scratch / f"images-{images}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text(f"{images}")
        reporter.evaluated(Evaluation(images, {}), folder)
        assert list(scratch.iterdir()) == []
    assert [file.read_text() for file in sorted(storage.rglob("checkpoint.json"))] == ["10", "20", "30"]


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_checkpoint_that_is_not_whole_is_passed_over_for_an_older_one_in_one_line(tmp_path, monkeypatch, s3, damaged):
    monkeypatch.setattr(worker, "_rank", lambda: 0)
    monkeypatch.setattr(worker, "_world", lambda: 1)
    root = s3.url(uuid4().hex[:6])
    RemoteFolder(root).write("owner.json", b"{}")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "state").write_text("whole")
    uris = [checkpoint_uri(root, "t0000", images) for images in (200, 100)]
    for uri in uris:
        store(tmp_path / "source", uri)
    for uri in uris[:damaged]:
        RemoteFolder(uri).delete("state")
    reporter = ListReporter()
    names = [folder.name for folder in worker._fetched(uris, tmp_path / "scratch", reporter)]
    assert names == ["000000000100"][damaged - 1 :]
    (line,) = reporter.notes
    assert "000000000200" in line
    assert line.endswith("it goes on from 000000000100" if damaged == 1 else "it goes on from the beginning")
