"""Checkpoints that cannot be copied to MLflow: what is said of them, and that the scores of their sweep are there."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from logged import LoggedSweep

from gensweep.errors import GensweepError
from gensweep.sweep.checkpoints import checkpoint_uri
from gensweep.tracking.logged_models import models_of
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import find_sweep
from gensweep.tracking.store import client
from gensweep.tracking.sync import sync

pytestmark = pytest.mark.mlflow


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"metadata": {"fam', r"is damaged \(Unterminated string"),
        ("[]", "is damaged"),
        ('{"metadata": {"family": {"conditional": true}}}', r"is damaged \('class_names'\)"),
        (None, "is gone"),
    ],
    ids=["torn", "another tree", "no classes", "gone"],
)
def test_a_checkpoint_that_cannot_be_read_is_told_and_holds_nothing_up(store, tmp_path, caplog, content, words):
    sweep = LoggedSweep(tmp_path, f"torn-{uuid4().hex[:6]}", trials=2, keep_best=2)
    for number, text in enumerate((content, "{}")):
        uri = checkpoint_uri(str(sweep.folder.path), trial := f"t{number:04d}", 100)
        Path(uri).mkdir(parents=True)
        if text is not None:
            (Path(uri) / "checkpoint.json").write_text(text)
        sweep.start(trial)
        sweep.evaluate(trial, 100, 5.0 + number, uri)
        sweep.end(trial)
    sweep.file()
    assert re.search(f"checkpoints/t0000.*{words}.*; it is not kept in MLflow", caplog.text)
    found = find_sweep(sweep.folder.name)
    assert [(trial.objective.value, trial.status) for trial in found.trials] == [(5.0, "finished"), (6.0, "finished")]
    runs = [client().get_run(trial.run_id) for trial in found.trials]
    assert [len(models_of(client(), run.info.experiment_id, run.info.run_id)) for run in runs] == [0, 1]


def test_scores_of_a_sweep_that_mlflow_knows_do_not_wait_for_copies_of_checkpoints(store, tmp_path, monkeypatch):
    sweep = LoggedSweep(tmp_path, "uncopied")
    sweep.start("t0000")
    Replay(sweep.folder).catch_up()
    sweep.evaluate("t0000", 100, 5.0, tmp_path)
    sweep.end("t0000")
    sweep.close()

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr("gensweep.tracking.run_writer.RunWriter.keep_checkpoint", full)
    with pytest.raises(GensweepError, match="No space left"):
        sync(sweep.folder)
    assert find_sweep("uncopied").trials[0].objective.value == 5.0
