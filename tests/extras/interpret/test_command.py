"""`gensweep interpret` from a run or a checkpoint to its page, tables and pictures."""

import csv
import io
import json
import re

import pytest

from gensweep.cli.main import run

UNET = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4]}
FAST = ("--samples", "8", "--permutations", "99", "--levels", "2")
TEXTS = {"index.html", "activation_map.csv"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A sweep `tiny` of one trial, and checkpoints of models of other sorts."""
    import untrained
    from logged import LoggedSweep
    from made_up import project

    with project(tmp_path_factory.mktemp("store")) as folder:
        (folder / "a_file").touch()
        (folder / "cache").mkdir()  # where kernels are compiled, whichever test comes first
        trial = untrained.config("diffusion", network=UNET)
        sweep = LoggedSweep(folder / "sweeps", "tiny")
        made = untrained.checkpoint(sweep.folder.path / "checkpoints" / "t0000", trial)
        sweep.start("t0000", {}, trial.as_dict())
        sweep.evaluate("t0000", 32, 9.0, made)
        sweep.end("t0000")
        sweep.close()
        others = {
            "plain": untrained.config("diffusion", family__conditional=False),
            "deaf": untrained.config("diffusion", family__guidance=0.0),
        }
        for name, config in others.items():
            untrained.checkpoint(folder / "made" / name, config).rename(folder / name)
        yield folder


def interpret(capsys, *arguments):
    capsys.readouterr()
    assert run(["interpret", *FAST, *arguments, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_a_run_gives_rows_a_page_pictures_and_tables(store, capsys):
    rows, err = interpret(capsys, "tiny", "--class", "3", "-o", "out")
    assert rows
    assert {row["class"] for row in rows} == {"3"}
    assert all(row["p"] <= 0.05 and row["effect"] > 0 and row["layer"].startswith("denoiser.") for row in rows)
    assert "Page: out/index.html" in err

    made = {file.name for file in (store / "out").iterdir()}
    assert TEXTS | {"where.png", "units-3.png", "trajectory.png"} == made
    page = (store / "out" / "index.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert page.count("data:image/") == len(made - TEXTS)

    table = list(csv.DictReader(io.StringIO((store / "out" / "activation_map.csv").read_text())))
    found = {(each["layer"], int(each["unit"]), each["class"]): each for each in table}
    assert len(found) == len(table)
    for row in rows:
        line = found[row["layer"], row["unit"], "3"]
        assert float(line["effect"]) == pytest.approx(row["effect"], rel=1e-3)
        assert float(line["p"]) == pytest.approx(row["p"], rel=1e-3)


def test_the_same_seed_gives_the_same_files_and_another_one_others(store, capsys):
    for folder, seed in (("one-a", "5"), ("one-b", "5"), ("two", "6")):
        interpret(capsys, "tiny", "--class", "3", "--layer", "middle", "--seed", seed, "-o", folder)
    a, b, other = ((store / folder / "activation_map.csv").read_bytes() for folder in ("one-a", "one-b", "two"))
    assert a == b != other
    for name in ("trajectory.png", "units-3.png"):
        assert (store / "one-a" / name).read_bytes() == (store / "one-b" / name).read_bytes()
    assert b"denoiser.up" not in a


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plain"], "this model was trained without labels; name a run"),
        (["deaf"], "family.guidance is 0, which ignores the label"),
        (["tiny", "--class", "horse"], "'horse' is not a class of this model (known: 0, 1, 2,"),
        (["tiny", "--layer", "zzz"], "--layer 'zzz' matches none of"),
        (["tiny", "--layer", "("], "--layer '(' is not a regular expression"),
        (["tiny", "--layer", "condition"], "these layers read only latents, times or labels"),
        (["nothing"], "'nothing'"),
        (["tiny", "-o", "a_file"], "is a file"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(store, capsys, monkeypatch, arguments, words):
    before = {*store.iterdir()}
    assert run(["interpret", *arguments]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("Error") == 1
    assert "Traceback" not in err
    assert {*store.iterdir()} == before
