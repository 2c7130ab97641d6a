"""Under which names imported images are filed, and what is put in its place."""

import shutil
from pathlib import Path

from scored_digits import COUNT, compared, evaluate, real_digits, write


def test_a_name_is_used_once_unless_it_is_replaced(store, capsys):
    evaluate(capsys, "real", "--name", "once", "--like", "tiny")
    assert "--replace" in evaluate(capsys, "real", "--name", "once", "--like", "tiny", code=2)[1]
    assert (
        "was not made by gensweep evaluate-images"
        in evaluate(capsys, "real", "--name", "tiny", "--like", "tiny", "--replace", code=2)[1]
    )
    evaluate(capsys, write(store / "others", real_digits()[COUNT:]), "--name", "once", "--like", "once", "--replace")
    entries, err = compared(capsys)
    assert entries["once"]["rank"] == 1
    assert "Left out" not in err


def test_a_folder_of_something_else_stays(store, capsys):
    folder = Path("sweeps/elsewhere/checkpoints")
    folder.mkdir(parents=True)
    for more in ([], ["--replace"]):
        err = evaluate(capsys, "real", "--name", "elsewhere", "--like", "tiny", *more, code=2)[1]
        assert "was not made by gensweep evaluate-images" in err
    assert folder.is_dir()
    shutil.rmtree(folder.parent)
