"""`gensweep edit`, on a tiny model of each family in a checkpoint folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import untrained
from PIL import Image

from gensweep.build.model import load_checkpoint
from gensweep.cli import main
from gensweep.data.picture_decoding import read_picture
from gensweep.extras.editing.drawing import Pictures, draw_from_pictures, picture_for
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

pytestmark = pytest.mark.trains

SIZE = 8
UNET = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": []}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    trials = {
        "diffusion": untrained.config("diffusion", network=UNET, sampler={"kind": "ddim", "steps": 4}),
        "gan": untrained.config("gan"),
        "vae": untrained.config("vae"),
        "plain vae": untrained.config("vae", family__conditional=False),
    }
    return {kind: untrained.checkpoint(tmp_path_factory.mktemp(kind), trial) for kind, trial in trials.items()}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Pictures of several sorts, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("car.png")
    Image.fromarray(pixels[::-1].copy()).save("ship.png")
    Image.fromarray(np.dstack([pixels, pixels[..., :1]])).save("rgba.png")
    Image.fromarray(pixels[..., 0]).save("grey.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save("deep.png")
    mask = np.zeros((24, 40), dtype=np.uint8)
    Image.fromarray(mask).save("black.png")
    mask[0, :8] = 255
    Image.fromarray(mask).save("edge.png")
    mask[:, 20:] = 255
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(mask[:, :30].copy()).save("narrow.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "car.png").read_bytes()[:900])
    (tmp_path / "text.png").write_text("hello")
    return tmp_path


def edit(checkpoint, *arguments):
    return main.run(["edit", str(checkpoint), *map(str, arguments)])


def pictures(folder):
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))]).astype(int)


@pytest.mark.parametrize("name", ["car", "rgba", "grey", "deep"])
def test_versions_of_a_picture_of_any_sort(checkpoints, files, capsys, name):
    assert edit(checkpoints["diffusion"], f"{name}.png", "-n", 3, "-o", "out", "--format", "json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [{"file": f"out/{index:06d}.png"} for index in range(3)]
    assert pictures(files / "out").shape == (3, SIZE, SIZE)


def test_strength_0_gives_the_picture_back(checkpoints, files):
    model = load_checkpoint(checkpoints["diffusion"])
    image = picture_for(model, Image.open("car.png"))
    assert edit(checkpoints["diffusion"], "car.png", "--strength", 0, "-n", 2, "-o", "out") == 0
    assert (pictures(files / "out") == image.numpy()).all()


def test_strength_1_draws_what_is_drawn_without_a_picture(checkpoints, files):
    model = load_checkpoint(checkpoints["diffusion"])
    _, drawn, _ = draw_from_pictures(model, Pictures(Image.open("car.png"), strength=1.0), 5, seed=4)
    assert torch.equal(drawn, model.sample(5, seed=4))


@pytest.mark.parametrize(
    ("extra", "sampler"),
    [
        ((), "ddim"),
        ((), "ancestral"),
        (("--inpaint", "mask.png"), "ancestral"),
        (("--interpolate", "ship.png"), "ddim"),  # which must be deterministic
    ],
)
def test_batches_change_nothing(checkpoints, files, extra, sampler):
    for batch in (2, 5):
        how = ("--class", "3", "--guidance", 2, "-n", 5, "--set", f"sampler.kind={sampler}")
        how += ("--set", "sampler.steps=4", "--batch", batch, "-o", f"of{batch}")
        assert edit(checkpoints["diffusion"], "car.png", *extra, *how) == 0
    assert np.abs(pictures(files / "of2") - pictures(files / "of5")).max() <= 1


def test_what_is_not_white_in_the_mask_is_kept_to_the_bit(checkpoints, files):
    model = load_checkpoint(checkpoints["diffusion"])
    image = picture_for(model, Image.open("car.png")).numpy()[0]
    how = ("car.png", "--inpaint", "mask.png", "-n", 4, "-o", "out")
    assert edit(checkpoints["diffusion"], *how) == 0
    drawn = pictures(files / "out")
    # The right half is white.
    assert (drawn[..., : SIZE // 2] == image[:, : SIZE // 2]).all()
    assert (drawn[..., SIZE // 2 :] != image[:, SIZE // 2 :]).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["torn.png"], ["torn.png", "cannot be read"]),
        (["car.png", "--inpaint", "narrow.png"], ["30 x 24", "40 x 24"]),
        (["car.png", "--inpaint", "black.png"], ["the mask", "nothing to redraw"]),
        (["car.png", "--interpolate", "ship.png", "--strength", "0.5"], ["--strength", "--interpolate"]),
        (["car.png", "--interpolate", "ship.png", "-n", "1"], ["at least 2"]),
        (["car.png", "--interpolate", "ship.png", "--set", "sampler.kind=ancestral"], ["deterministic", "ddim"]),
        (["car.png", "--interpolate", "ship.png", "--guidance", "9"], ["guidance", "--class"]),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(checkpoints, files, capsys, arguments, words):
    before = sorted(files.iterdir())
    assert edit(checkpoints["diffusion"], *arguments, "-o", "out.png") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    problems = [line for line in captured.err.splitlines() if not line.startswith("Note: ")]
    assert len(problems) == 1, captured.err
    assert all(word in captured.err for word in words), captured.err
    assert sorted(files.iterdir()) == before


def test_strength_is_a_share(checkpoints, files, capsys):
    assert edit(checkpoints["diffusion"], "car.png", "--strength", "1.5", "-o", "out.png") == 2
    assert "1.5 is not in the range 0<=x<=1" in capsys.readouterr().err


@pytest.mark.parametrize("extra", [(), ("--inpaint", "mask.png"), ("--interpolate", "ship.png")])
def test_a_gan_cannot_begin_with_a_picture(checkpoints, files, capsys, extra):
    assert edit(checkpoints["gan"], "car.png", *extra, "-o", "out.png") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'gan'" in error
    assert not (files / "out.png").exists()


def test_vae_encodes_a_picture(checkpoints, files):
    model, image = load_checkpoint(checkpoints["vae"]), read_picture(Path("car.png"))
    before, kept, _ = draw_from_pictures(model, Pictures(image, 0.0), 3, label="3", seed=4)
    assert torch.equal(kept, kept[:1].expand_as(kept))
    shown, label = before.float() / 127.5 - 1, torch.tensor([3])
    with torch.no_grad():
        latents = model.family.encode(model.network, shown, label)
        own = model.family.decode(model.network, latents, Noise(4, torch.zeros(1, dtype=torch.int64)), label)
    assert torch.equal(kept[:1], to_uint8(own))
    _, versions, _ = draw_from_pictures(model, Pictures(image, 0.7), 5, seed=4)
    assert len({tuple(each.flatten().tolist()) for each in versions}) == 5
    _, drawn, _ = draw_from_pictures(model, Pictures(image, 1.0), 5, seed=4, batch_size=2)
    assert (drawn.int() - model.sample(5, seed=4).int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--inpaint", "mask.png"], ["'vae'", "leave --inpaint out"]),
        (["--interpolate", "ship.png"], ["--class"]),
        (["--steps", "5"], ["--steps", "VAE"]),
        (["--guidance", "2"], ["--guidance", "VAE"]),
        (["--set", "family.decoding=median"], ["median", "mean"]),
    ],
)
def test_what_a_vae_cannot_do_is_one_line(checkpoints, files, capsys, arguments, words):
    assert edit(checkpoints["vae"], "car.png", *arguments, "-o", "out.png") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert all(word in error for word in words), error
    assert not (files / "out.png").exists()


@pytest.mark.parametrize("output", ["car.png", "ship.png", "."])
def test_pictures_are_not_written_over(checkpoints, files, capsys, output):
    before = {file: file.read_bytes() for file in files.iterdir()}
    how = ("car.png", "--interpolate", "ship.png", "-n", 2, "-o", output)
    assert edit(checkpoints["diffusion"], *how) == 2
    assert "could overwrite" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in files.iterdir()} == before
