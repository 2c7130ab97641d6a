"""Under which names imported images are filed, and what is put in its place."""

import shutil
from pathlib import Path

from exported_generators import LATENT
from scored_digits import compared, evaluate


def test_a_name_is_used_once_unless_it_is_replaced(store, capsys):
    evaluate(capsys, "real", "--name", "once", "--like", "tiny")
    assert "--replace" in evaluate(capsys, "real", "--name", "once", "--like", "tiny", code=2)[1]
    assert "was trained" in evaluate(capsys, "real", "--name", "tiny", "--like", "tiny", "--replace", code=2)[1]
    evaluate(capsys, "--torchscript", "G.pt", "--latent", LATENT, "--name", "once", "--like", "once", "--replace")
    entries, err = compared(capsys)
    assert entries["once"]["family"] == "torchscript"
    assert "older sweep" not in err


def test_a_sweep_that_the_store_does_not_know_stays(store, capsys):
    folder = Path("sweeps/elsewhere/checkpoints")
    folder.mkdir(parents=True)
    for more in ([], ["--replace"]):
        err = evaluate(capsys, "real", "--name", "elsewhere", "--like", "tiny", *more, code=2)[1]
        assert "holds a sweep that is not in" in err
    assert folder.is_dir()
    shutil.rmtree(folder.parent)


def test_an_entry_that_the_store_has_lost_is_replaced_like_any_other(store, capsys):
    from gensweep.tracking.runs import find_sweep
    from gensweep.tracking.store import client

    evaluate(capsys, "real", "--name", "forgotten", "--like", "tiny")
    lost = find_sweep("forgotten")
    for run_id in (lost.run_id, lost.trials[0].run_id):
        client().delete_run(run_id)
    evaluate(capsys, "real", "--name", "forgotten", "--like", "tiny", "--replace")
    assert len(find_sweep("forgotten").trials) == 1
