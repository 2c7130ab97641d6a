"""`evaluate-images`, beside a run that was really trained, on digits of 8 px."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_generators import LATENT, Conditional, Generator, Odd, export
from scored_digits import COUNT, compared, evaluate, real_digits, write

from gensweep.cli.main import run
from gensweep.extras.imported.exported import ExportedGenerator


def frechet(images):
    """The distance of grey images (n, h, w) to the real digits, by the singular values of their features."""
    import untrained

    from gensweep.build.parts import build_extractor

    extractor = build_extractor(untrained.config("gan"), "cpu")
    mine, real = (extractor(torch.from_numpy(each)[:, None]).double().numpy() for each in (images, real_digits()))
    means = mine.mean(0) - real.mean(0)
    mine, real = ((each - each.mean(0)) / np.sqrt(len(each) - 1) for each in (mine, real))
    # tr sqrt(A'A B'B) is the sum of the singular values of A B'.
    both = np.linalg.svd(mine @ real.T, compute_uv=False).sum()
    return means @ means + (mine**2).sum() + (real**2).sum() - 2 * both


def test_a_folder_and_a_generator_are_ranked_with_a_trained_run(store, capsys):
    (real,), err = evaluate(capsys, "real", "--name", "photos")
    assert "Evaluated as tiny/t0000 was." in err
    assert "Saved as photos." in err
    assert real["value"] == pytest.approx(frechet(real_digits()[:COUNT]), rel=1e-6)
    (theirs,), _ = evaluate(capsys, "--torchscript", "G.pt", "--latent", LATENT, "--name", "theirs", "--like", "tiny")
    assert theirs["params"] == LATENT * 64 + 64
    entries, err = compared(capsys)
    assert set(entries) == {"photos", "theirs", "tiny"}
    assert "Left out" not in err
    assert entries["photos"]["rank"] == 1
    assert {name: entries[name]["family"] for name in entries} == {
        "photos": "folder", "theirs": "torchscript", "tiny": "gan",
    }  # fmt: skip
    identity = entries["tiny"]["objective"]["identity"]
    for name, row in (("photos", real), ("theirs", theirs)):
        entry = entries[name]
        assert (entry["objective"]["value"], entry["objective"]["identity"]) == (row["value"], identity)
        assert entry["status"] == "finished"
        assert entry["params"] == {}
        assert [entry[key] for key in ("checkpoint",)] == [None]
        assert [entry["cost"][key] for key in ("images", "train_seconds", "activation_bytes")] == [None] * 3
        assert entry["cost"]["params"] == row["params"]
    assert entries["photos"]["cost"]["sample_seconds"] is None
    assert entries["theirs"]["cost"]["sample_seconds"] > 0
    page = Path("report.html").read_text(encoding="utf-8")
    pictures = re.findall(r'<img src="data:image/webp;base64,[^"]*" alt="([^"]*)"', page)
    assert sorted(set(pictures)) == ["Real images", *(f"Samples of {name}/t0000" for name in sorted(entries))]
    assert "To train the recommended trial" in page  # the verdict is on what to train


def test_a_generator_scores_what_its_images_score(store, capsys):
    from gensweep.noise import Noise

    given = ["--torchscript", "G.pt", "--latent", LATENT, "--like", "tiny"]
    (row,), err = evaluate(capsys, *given)
    assert "Not saved" in err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load("G.pt")
    z = Noise(0, torch.arange(COUNT)).normal(LATENT, stream=3)
    pixels = (module(z) * 127.5 + 128).floor().clamp(0, 255).to(torch.uint8)[:, 0].detach().numpy()
    assert row["value"] == pytest.approx(frechet(pixels), rel=1e-6)
    (again,), _ = evaluate(capsys, *given, "--set", "evaluation.batch_size=7")
    assert again["value"] == pytest.approx(row["value"], rel=1e-9)
    (other,), _ = evaluate(capsys, *given, "--seed", 1)
    assert other["value"] != row["value"]
    (filed,), _ = evaluate(capsys, write(store / "drawn", pixels), "--like", "tiny")
    assert filed["value"] == pytest.approx(row["value"], rel=0.5)


def test_labels_are_sampled_in_the_proportions_of_the_real_images(store, capsys):
    from gensweep.noise import Noise
    from gensweep.training.evaluation import sample_labels

    export(store / "C.pt", Conditional(), torch.zeros(3, dtype=torch.int64))
    (row,), err = evaluate(capsys, "--torchscript", "C.pt", "--latent", LATENT, "--classes", 10, "--like", "tiny")
    assert "drawn evenly" not in err
    counts = np.bincount(real_labels(), minlength=10).tolist()
    greys = ((sample_labels(counts, Noise(0, torch.arange(COUNT))) / 10 - 0.5) * 127.5 + 128).floor().to(torch.uint8)
    assert row["value"] == pytest.approx(frechet(greys[:, None, None].expand(-1, 8, 8).contiguous().numpy()), rel=1e-6)
    _, err = evaluate(capsys, "--torchscript", "C.pt", "--latent", LATENT, "--classes", 3, "--like", "tiny")
    assert "it has 3 classes and the real images have 10: labels are uniform" in err


def real_labels():
    import untrained

    from gensweep.build.parts import load_images

    return load_images(untrained.config("gan")).labels.numpy()


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


BAD_GENERATORS = {
    "nan": (lambda x: x / x.new_zeros(()) * 0, "5 of the images 0..4 hold NaN or infinite values"),
    "unit": (lambda x: (x + 1) / 2, "looks like 0..1 and not like -1..1; set the range: --output-range 0,1"),
    "flat": (
        lambda x: x.flatten(1),
        "floats or uint8 of shape (5, channels, height, width), but it returned torch.float32",
    ),
    "colour": (
        lambda x: x.expand(-1, 3, 8, 8),
        "its images have 3 channels, but the real images have 1",
    ),
}


@pytest.mark.parametrize("name", BAD_GENERATORS)
def test_a_generator_that_cannot_be_scored_is_told_in_a_line(store, capsys, name):
    change, words = BAD_GENERATORS[name]
    export(store / f"{name}.pt", Odd(change))
    _, err = evaluate(capsys, "--torchscript", f"{name}.pt", "--latent", LATENT, "--like", "tiny", code=1)
    assert [words in line for line in err.splitlines() if line.startswith("Error: ")] == [True]


def test_what_a_generator_draws_itself_follows_from_the_seed(tmp_path):
    export(tmp_path / "noisy.pt", Odd(lambda images: images + 0.1 * torch.randn_like(images)))
    generator = ExportedGenerator(tmp_path / "noisy.pt", torch.device("cpu"), (LATENT,))
    every, state = torch.arange(6), torch.get_rng_state()
    first, again, other = (generator.draw(key, every, None) for key in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(generator.draw(0, every[3:], None), generator.draw(0, every[:3], None))
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_program_of_torch_export_is_taken_too(store, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamic = {"z": {0: torch.export.Dim("batch")}}
        torch.export.save(
            torch.export.export(Generator().eval(), (torch.randn(3, LATENT),), dynamic_shapes=dynamic), "G.pt2"
        )
    given = ["--latent", LATENT, "--like", "tiny"]
    (row,), _ = evaluate(capsys, "--torchscript", "G.pt2", *given)
    assert row["params"] == LATENT * 64 + 64
    (script,), _ = evaluate(capsys, "--torchscript", "G.pt", *given)
    assert row["value"] == pytest.approx(script["value"], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Give either FOLDER or --torchscript FILE"),
        (["--trust", "--torchscript", "G.pt"], 2, "--latent 512"),
        (["--trust", "--torchscript", "G.pt", "--latent", "5"], 1, "does not accept z of shape (5, 5)"),
        (["--trust", "--torchscript", "G.pt", "--latent", "4", "--output-range", "1,0"], 2, "two ascending numbers"),
        (["--trust", "--torchscript", "sweeps/tiny/events.jsonl", "--latent", "4"], 2, "torch cannot load it"),
        (["--torchscript", "G.pt", "--latent", "4"], 2, "loading it runs its code with your permissions; add "),
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
    _, err = evaluate(capsys, *arguments, code=code, trust=False)
    assert [words in line for line in err.splitlines() if line.startswith("Error: ")] == [True], err
