"""`gensweep sample` with every sampler, and what it refuses, on a tiny model without labels."""

import numpy as np
import pytest
import untrained
from PIL import Image

from gensweep.cli import main
from gensweep.diffusion.samplers.sampler import SAMPLERS
from gensweep.registry import keywords

SETTINGS = {
    "family": {"kind": "diffusion"},
    "network": {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": []},
    # A network that has hardly been trained says nothing, and with edm that is still a good guess at a grey image.
    "diffusion": {"timesteps": 10, "parameterisation": {"kind": "edm"}},
    "sampler": {"kind": "ddim", "steps": 4},
    "training__images": 8,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    trial = untrained.config("diffusion", **SETTINGS)
    return untrained.train(trial, tmp_path_factory.mktemp("run")).checkpoints[-1][1]


def sample(checkpoint, output, *arguments):
    return main.run(["sample", str(checkpoint), "-n", "3", "-o", str(output), *arguments])


def pixels(file):
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.mark.trains
@pytest.mark.parametrize("kind", SAMPLERS.kinds())
def test_a_model_takes_any_sampler(checkpoint, tmp_path, kind):
    steps = ["--steps", "3"] if "steps" in keywords(SAMPLERS[kind]) else []
    arguments = ["--sampler", kind, *steps]
    assert sample(checkpoint, tmp_path / "whole.png", *arguments) == 0
    assert sample(checkpoint, tmp_path / "split.png", *arguments, "--batch", "2") == 0
    whole, split = (pixels(tmp_path / f"{name}.png").astype(int) for name in ("whole", "split"))
    assert abs(whole - split).max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "5"], "--steps: {} is a GAN, which samples in one pass; omit it"),
        (["--guidance", "2"], "--guidance: {} is a GAN, which samples without it; omit it"),
    ],
)
def test_options_of_other_families_are_refused_as_they_were_typed(options, words, tmp_path, capsys):
    folder = untrained.checkpoint(tmp_path, untrained.config("gan"))
    assert sample(folder, tmp_path / "any.png", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words.format(folder) in line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--steps 11", "sampler.steps: 11 is more than diffusion.timesteps (10)"),
        ("--sampler heun --steps 11", "sampler.steps: 11 is more than diffusion.timesteps (10)"),
        ("--sampler hein", "sampler.kind: 'hein' is not a sampler; did you mean 'heun'? (known: ancestral, ddim, "),
        ("--sampler euler --set sampler.churn=1", "sampler.churn: 'churn' is not a key of sampler of kind euler"),
        ("--sampler heun --set sampler.spacing=log", "sampler.spacing: 'log' is not one of 'time', 'karras', 'log_sn"),
        (
            "--sampler heun --set sampler.churn=1 --set sampler.churn_min=2 --set sampler.churn_max=1",
            "sampler.churn_min: 2 is more than sampler.churn_max (1), so no level would be churned",
        ),
        ("--guidance 2", "family.guidance: 2 needs labels, which this trial lacks"),
        ("--guidance -1", "family.guidance: -1"),
        ("--set family.guidance_interval=[0.1,5]", "family.guidance_interval: [0.1, 5] needs labels"),
        ("--class 3", "class '3': this model was trained without labels"),
    ],
)
def test_what_does_not_fit_is_one_line_before_an_image_is_drawn(checkpoint, tmp_path, capsys, arguments, problem):
    assert sample(checkpoint, tmp_path / "images.png", *arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"Error: {problem}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())
