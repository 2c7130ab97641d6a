"""What a worker does with the reports and checkpoints of a trial, without Ray."""

from uuid import uuid4

import pytest

from gensweep.remote_folder import RemoteFolder
from gensweep.results import Evaluation
from gensweep.run.messages import Mailbox
from gensweep.run.worker import TrialReporter
from gensweep.sweep.checkpoints import checkpoint_place, store


def test_a_checkpoint_is_moved_into_the_storage(tmp_path):
    """A worker's own disk holds one checkpoint at most, however many the sweep keeps."""
    scratch, storage, mailbox = tmp_path / "scratch", tmp_path / "storage", Mailbox()
    mailbox.send = lambda event, wait: True
    reporter = TrialReporter("t0000", str(storage), 0, mailbox)
    for images in (10, 20, 30):
        folder = scratch / f"images-{images}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text(f"{images}")
        reporter.evaluated(Evaluation(images, {}), folder)
        assert list(scratch.iterdir()) == []
    assert [file.read_text() for file in sorted(storage.rglob("checkpoint.json"))] == ["10", "20", "30"]


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tmp_path, s3, damaged):
    root = s3.url(uuid4().hex[:6])
    RemoteFolder(root).write("owner.json", b"{}")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "state").write_text("whole")
    names = ["t0000/000000000200", "t0000/000000000100"]
    for name in names:
        store(tmp_path / "source", checkpoint_place(root, name))
    for name in names[:damaged]:
        RemoteFolder(checkpoint_place(root, name)).delete("state")
    notes, mailbox = [], Mailbox()
    mailbox.send = lambda event: notes.append(event.text)
    fetched = TrialReporter("t0000", root, 0, mailbox).fetched(names, tmp_path / "scratch", 1)
    assert [folder.name for folder in fetched] == ["000000000100"][damaged - 1 :]
    (line,) = notes
    assert "000000000200" in line
    assert line.endswith("resumes from 000000000100" if damaged == 1 else "resumes from the beginning")
