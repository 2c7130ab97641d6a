"""What a worker does with a trial's reports, without Ray."""

from types import SimpleNamespace

from gensweep.results import Evaluation
from gensweep.sweep import worker


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
