"""`evaluate-images`, beside a run that was really trained, on digits of 8 px."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scored_digits import COUNT, compared, evaluate, real_digits, write

from gensweep.cli.main import run


def frechet(images):
    """The distance of grey images (n, h, w) to the real digits, by the singular values of their features."""
    import untrained

    from gensweep.build.parts import build_extractor, load_images

    extractor = build_extractor(trial := untrained.config("gan"), "cpu", load_images(trial))
    mine, real = (extractor(torch.from_numpy(each)[:, None]).double().numpy() for each in (images, real_digits()))
    means = mine.mean(0) - real.mean(0)
    mine, real = ((each - each.mean(0)) / np.sqrt(len(each) - 1) for each in (mine, real))
    # tr sqrt(A'A B'B) is the sum of the singular values of A B'.
    both = np.linalg.svd(mine @ real.T, compute_uv=False).sum()
    return means @ means + (mine**2).sum() + (real**2).sum() - 2 * both


def test_a_folder_is_ranked_with_a_trained_run(store, capsys):
    (real,), err = evaluate(capsys, "real", "--name", "photos")
    assert "Evaluated as tiny/t0000 was." in err
    assert "Saved as photos." in err
    assert real["value"] == pytest.approx(frechet(real_digits()[:COUNT]), rel=1e-6)
    entries, err = compared(capsys)
    assert set(entries) == {"photos", "tiny"}
    assert "Left out" not in err
    assert entries["photos"]["rank"] == 1
    assert {name: entries[name]["family"] for name in entries} == {"photos": "folder", "tiny": "gan"}
    identity, entry = entries["tiny"]["objective"]["identity"], entries["photos"]
    assert (entry["objective"]["value"], entry["objective"]["identity"]) == (real["value"], identity)
    assert entry["status"] == "finished"
    assert entry["params"] == {}
    assert entry["checkpoint"] is None
    assert [entry["cost"][key] for key in ("images", "train_seconds", "activation_bytes", "sample_seconds")] == [
        None
    ] * 4
    assert entry["cost"]["params"] == real["params"]
    page = Path("report.html").read_text(encoding="utf-8")
    pictures = re.findall(r'<img src="data:image/webp;base64,[^"]*" alt="([^"]*)"', page)
    assert sorted(set(pictures)) == ["Real images", *(f"Samples of {name}/t0000" for name in sorted(entries))]
    assert "To train the recommended trial" in page  # the verdict is on what to train


def test_another_identity_is_refused_with_the_command_that_makes_it_alike(store, capsys):
    evaluate(capsys, "real", "--name", "few", "--samples", COUNT - 2, "--like", "tiny")
    entries, err = compared(capsys)
    assert "few" not in entries
    assert f"generated images: {COUNT - 2} against {COUNT}" in err
    assert "gensweep evaluate-images real --name few" in err
    capsys.readouterr()
    assert run(["best", "--compare", "tiny", "few"]) == 1
    assert "few cannot be compared with tiny" in capsys.readouterr().err
    _, err = evaluate(capsys, "real", code=2)
    assert re.search(r"--like few \(.* of 10 generated images", err)
    assert "of 12 generated images" in err
    evaluate(capsys, "real", "--name", "few", "--like", "tiny", "--replace")
    assert "few" in compared(capsys)[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "named"],
        ["evaluate", "named"],
        ["train", "--from-run", "named"],
    ],
)
def test_an_entry_cannot_draw_images(store, capsys, arguments):
    evaluate(capsys, "real", "--name", "named", "--like", "tiny", "--replace")
    capsys.readouterr()
    assert run(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "named/t0000 was only scored here" in err


def test_real_pictures_in_a_folder_are_a_reference_without_any_run(store, capsys):
    write(store / "all", real_digits())
    arguments = ["--set", "data.size=8", "--set", "data.channels=1", "--set", "evaluation.extractor.resolution=32"]
    (row,), err = evaluate(capsys, "real", "--against", "all", "--samples", COUNT, *arguments)
    assert "Evaluated as" not in err
    assert row["value"] == pytest.approx(frechet(real_digits()[:COUNT]), rel=1e-6)
    assert row["identity"]["reference"].startswith("all/train (40 images, 8x8)#")


BAD_FOLDERS = {
    "empty": "has nothing to score: it has no picture file",
    "broken": "has nothing to score: 2 files cannot be read",
    "small": "has 3 pictures, but 12 are needed; add 9, or score 3 with --samples 3",
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_folder_that_cannot_be_scored_is_told_in_a_line(store, capsys, name):
    folder = store / "bad" / name
    if name == "small":
        write(folder, real_digits()[:3])
    else:
        folder.mkdir(parents=True)
    if name == "broken":
        for file in ("a.png", "b.jpg"):
            (folder / file).write_bytes(b"no picture")
    out, err = evaluate(capsys, folder, "--like", "tiny", "--name", "bad", code=2)
    assert out == ""
    assert [BAD_FOLDERS[name] in line for line in err.splitlines() if line.startswith("Error: ")] == [True]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 2, "nowhere does not exist"),
        (["real", "--trust"], 2, "--trust: does not apply to a folder of pictures"),
        (["real", "--replace"], 2, "--replace needs --name"),
        (["real", "--name", "a/b"], 2, "'a/b'"),
        (["real", "--set", "training.images=3"], 2, "--set training.images: only data.* and evaluation.*"),
        (["real", "--like", "nothing"], 2, "'nothing' is not a sweep or run"),
    ],
)
def test_mistakes_are_told_in_a_line(store, capsys, arguments, code, words):
    if not {"--like", "--set"} & set(arguments):
        arguments = [*arguments, "--like", "tiny"]
    _, err = evaluate(capsys, *arguments, code=code)
    assert [words in line for line in err.splitlines() if line.startswith("Error: ")] == [True], err


def test_the_panel_of_a_folder_is_kept_with_its_entry(store, monkeypatch, capsys):
    from gensweep.metrics import domain
    from gensweep.sweep.stored_sweeps import find_trial

    monkeypatch.setattr(domain, "STEPS", 3)
    rows, err = evaluate(capsys, "real", "--panel", "--name", "theirs", "--like", "tiny")
    assert {row["measure"] for row in rows} >= {"fd:domain", "energy:domain", "coverage:efficientnet_lite0"}
    assert not any(row["measure"].startswith("agreement") for row in rows)  # their classes are unknown
    assert "All measures of 12 images took " in err
    kept = find_trial("theirs").panel
    assert {name: score.value for name, score in kept.items()} == {row["measure"]: row["value"] for row in rows}
