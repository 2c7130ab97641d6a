"""`evaluate` and `sample --ema` on one run of a model that draws digits."""

import csv
import io
import json
import shlex
from pathlib import Path

import pytest

from gensweep.cli.main import run
from gensweep.errors import GensweepError
from gensweep.results import Identity

IDENTITY = Identity("fd", "efficientnet_lite0", 8, "digits", "floor(127.5 x + 128)")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A sweep `tiny` of one trial, with its checkpoint, and a run whose checkpoint is gone."""
    import untrained
    from logged import LoggedSweep
    from made_up import mlflow_store

    with mlflow_store(tmp_path_factory.mktemp("store")) as folder:
        trial = untrained.config("diffusion")
        sweep = LoggedSweep(folder / "sweeps", "tiny", metric="fd")
        made = untrained.checkpoint(sweep.folder.path / "checkpoints" / "t0000", trial)
        sweep.start("t0000", {}, trial.as_dict())
        sweep.evaluate("t0000", 32, 9.0, made, identity=IDENTITY)
        sweep.end("t0000")
        sweep.file()
        yield folder


def as_json(capsys, *arguments):
    capsys.readouterr()
    assert run([*arguments, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def filed():
    """The scores in MLflow that came from `evaluate`."""
    from mlflow_runs import history, runs_of

    from gensweep.sweep.folder import SweepFolder

    found = runs_of(SweepFolder(Path("sweeps"), "tiny"))["t0000"]
    return {key: history(found, key) for key in found.data.metrics if key.startswith("evaluate/")}


def test_combinations_are_scored_once_and_filed(store, capsys):
    arguments = ["evaluate", "tiny", "--steps", "1,2", "--ema", "1,raw"]
    rows, err = as_json(capsys, *arguments)
    assert [(row["steps"], row["weights"]) for row in rows] == [(1, "ema"), (2, "ema"), (1, "raw"), (2, "raw")]
    assert [row["evaluations"] for row in rows] == [1, 2, 1, 2]
    assert {row["run"] for row in rows} == {"tiny/t0000"}
    assert [row["value"] for row in rows if row["best"]] == [min(row["value"] for row in rows)]
    assert all(row["identity"]["samples"] == row["samples"] == 8 for row in rows)
    assert err.count("network evaluation") >= 4

    before = filed()
    assert before["evaluate/fd_8/ddim-guidance_1-raw"] == [(row["evaluations"], row["value"]) for row in rows[2:]]

    again, err = as_json(capsys, *arguments)
    assert again == rows
    assert "all known, from" in err
    assert filed() == before

    assert run([*arguments, "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["value"]) for row in table] == [row["value"] for row in rows]


def test_the_best_way_to_draw_is_printed_as_a_command(store, capsys):
    rows, err = as_json(capsys, "evaluate", "tiny", "--steps", "1,2", "--ema", "1,raw")
    command = next(row["sample"] for row in rows if row["best"])
    assert f"To sample this way: {command}" in err
    assert run([*command.split()[1:], "-n", "2", "-o", "best.png"]) == 0
    assert (store / "best.png").exists()


def test_fresh_seed_scores_of_the_same_kind_belong_to_the_trial(store, capsys):
    from logged import evaluation

    from gensweep.sweep.events import Evaluated
    from gensweep.sweep.folder import SweepFolder
    from gensweep.sweep.stored_sweeps import find_trial

    as_json(capsys, "evaluate", "tiny", "--seed", "1", "--samples", "24")
    assert find_trial("tiny").rescored is None  # 24 images are another score than that of 8
    (row,), _ = as_json(capsys, "evaluate", "tiny", "--seed", "1")
    assert find_trial("tiny").rescored is None  # and the made-up identity is not that of this checkpoint
    folder, identity = SweepFolder(store / "sweeps", "tiny"), Identity.from_dict(row["identity"])
    folder.log.append(Evaluated("t0000", evaluation(32, 9.0, identity=identity), "t0000/000000000032"))
    as_json(capsys, "evaluate", "tiny", "--seed", "1")
    found = find_trial("tiny").rescored
    assert (found.value, found.identity) == (row["value"], identity)
    as_json(capsys, "evaluate", "tiny", "--seed", "2", "--steps", "1")
    assert find_trial("tiny").rescored.value == row["value"]  # other steps are another way to draw
    assert run(["best", "tiny"]) == 0
    assert "on fresh seeds" in capsys.readouterr().out


def test_the_panel_scores_the_same_images_and_keeps_its_scores(store, capsys, monkeypatch):
    from gensweep.metrics import domain
    from gensweep.metrics.panel import PANEL
    from gensweep.sweep.stored_sweeps import find_trial

    monkeypatch.setattr(domain, "STEPS", 3)
    few = ["--samples", "24"]
    rows, err = as_json(capsys, "evaluate", "tiny", "--panel", "--seed", "1", *few)
    without = {"fd:inception", "fd:dinov2"}  # their weights are not installed
    assert [row["measure"] for row in rows] == [each.name for each in PANEL if each.name not in without]
    assert all(row["samples"] == 24 and row["seconds"] > 0 and row["error"] is not None for row in rows)
    assert "All measures of 24 images took " in err
    (alone,), _ = as_json(capsys, "evaluate", "tiny", "--metrics", "fd,coverage", "--seed", "1", *few)
    assert set(alone["scores"]) == {"fd", "coverage"}
    assert "all known" in as_json(capsys, "evaluate", "tiny", "--panel", "--seed", "1", *few)[1]
    trial = find_trial("tiny")
    assert {name: score.value for name, score in trial.panel.items()} == {row["measure"]: row["value"] for row in rows}
    assert "energy" not in {each.metric for each in trial.further_scores}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "tiny", "--panel", "--metrics", "fd"], "--panel: its measures and their settings are fixed"),
        (["evaluate", "tiny", "--steps", "5,50"], "50 is more than diffusion.timesteps (10)"),
        (["evaluate", "tiny", "--steps", "few"], "steps=few: expected whole numbers >= 1, such as 10,20,50, or all"),
        (["evaluate", "tiny", "--guidance", "-1"], "guidance=-1: expected numbers >= 0, such as 1,2"),
        (["evaluate", "tiny", "--sampler", ","], "sampler=,: expected one value or several, separated by commas"),
        (["evaluate", "tiny", "--ema", "7"], "this checkpoint contains the weights ema, ema@0.25, ema@4, raw"),
        (["evaluate", "tiny", "--set", "evaluation.samples=9"], "evaluation.samples: use --samples N instead"),
        (["sample", "tiny", "--set", "seed=5"], "seed: is fixed since training"),
        (["sample", "tiny", "--ema", "short"], "ema=short: use a multiple of the main half-life"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_drawn(store, capsys, arguments, words):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.strip().count("\n") == 0


def test_an_interrupted_call_keeps_what_it_has_and_says_what_goes_on(store, capsys, monkeypatch):
    from gensweep.rescoring.rescorer import Rescorer

    whole = Rescorer.run

    def stopped(*arguments):
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    command = ["evaluate", "tiny", "--steps", "1,2", "--samples", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(Rescorer, "run", stopped)
        patch.setattr("sys.argv", ["gensweep", *command])
        assert run(command) == 130
    err = capsys.readouterr().err
    assert "Finished scores are kept; to resume: gensweep evaluate tiny --steps 1,2 --samples 5\n" in err
    _, err = as_json(capsys, *command)
    assert [line.split(", ")[2] for line in err.splitlines() if line.startswith("tiny/t0000, ")] == ["2 steps"]


def test_other_metrics_and_another_reference_are_other_results(store, capsys):
    from PIL import Image

    (plain,), _ = as_json(capsys, "evaluate", "tiny", "--steps", "1")
    (test,), _ = as_json(capsys, "evaluate", "tiny", "--steps", "1", "--against", "test", "--metrics", "fd,kid")
    assert set(test["scores"]) == {"fd", "kid"}
    assert set(test["signals"]) == {"diversity", "kid/standard_error"}
    assert test["identity"]["reference"] != plain["identity"]["reference"]
    (store / "photos").mkdir(exist_ok=True)
    for number in range(12):
        Image.new("L", (40, 40), 20 * number).save(store / "photos" / f"{number}.png")
    (grey,), _ = as_json(capsys, "evaluate", "tiny", "--steps", "1", "--against", "photos")
    assert "photos" in grey["identity"]["reference"]
    assert len({row["value"] for row in (plain, test, grey)}) == 3


def test_the_winner_gets_its_final_score(store, capsys, monkeypatch):
    from gensweep.api import running
    from gensweep.config import checked_sweep
    from gensweep.sweep.stored_sweeps import find_trial

    final = {"extractor": {"kind": "efficientnet_lite0", "resolution": 64}, "metrics": ["kid", "fd"], "samples": 12}
    trial = find_trial("tiny")
    values = {"name": "tiny", "base": {"family": {"kind": "diffusion"}, "data": {"kind": "digits"}}, "final": final}
    running.score_best(checked_sweep(values), store / "sweeps", several=False)
    found = find_trial("tiny").further_scores
    assert {(each.metric, each.identity.samples) for each in found} >= {("kid", 12), ("fd", 12)}
    assert all("@64px" in each.identity.extractor for each in found if each.identity.samples == 12)
    assert trial.rescored == find_trial("tiny").rescored
    assert "tiny/t0000 on fresh seeds: KD-EffNetLite0" in capsys.readouterr().err

    monkeypatch.setattr(running, "rescore", broken)
    running.score_best(checked_sweep(values), store / "sweeps", several=False)
    err = capsys.readouterr().err
    assert "the best trial was not scored on fresh seeds (the disk is full)" in err
    assert run(shlex.split(err.partition("to do it: gensweep ")[2])) == 0
    assert "tiny/t0000: all known" in capsys.readouterr().err
    assert any(key.startswith("evaluate/kid_12/") and key.endswith("-by_efficientnet_lite0") for key in filed())
    assert run(["best", "tiny"]) == 0
    assert "of 12 images against digits/train" in capsys.readouterr().out


def broken(*_, **__):
    raise GensweepError("the disk is full")
