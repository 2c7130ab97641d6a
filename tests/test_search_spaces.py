"""Every shipped search space is valid at every scale, and its corners build and run one step."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml

from gensweep.config import TrialConfig, load_sweep, scale_names
from gensweep.config.json_schema import sweep_schema
from gensweep.families.family import Batch
from gensweep.noise import Noise
from gensweep.sweep.space import SearchSpace

FOLDER = Path(__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
SCALED = [(file, scale) for file in FILES for scale in [None, *scale_names(file)]]


def cheapest(file: Path) -> str | None:
    """The scale that a CPU is meant for."""
    return "cpu" if "cpu" in scale_names(file) else None


def ident(value):
    return value.stem if isinstance(value, Path) else str(value)


@pytest.mark.parametrize(("file", "scale"), SCALED, ids=ident)
def test_a_shipped_space_is_valid_at_every_scale_corners_included(file, scale):
    sweep = load_sweep(file, scale=scale)
    for overrides in SearchSpace.of(sweep).corners():
        trial = sweep.trial(overrides)
        assert trial.flat()["training.batch_size"] % sweep.resources.workers == 0
    for seed in range(20):
        sweep.trial(SearchSpace.of(sweep).sample(seed))


@pytest.mark.parametrize("file", FILES, ids=ident)
def test_a_shipped_space_is_valid_for_editors_and_opens_with_its_commands(file):
    text = file.read_text()
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(sweep_schema())))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []
    opening = text[: text.index("\nname:")]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert f"gensweep tune search_spaces/{file.name}" in opening
    assert "--dry-run" in opening
    assert "--resume" in opening
    assert "gensweep best" in opening


def one_step(trial: TrialConfig, images: int = 4) -> None:
    """Every loss goes backward and steps its optimizer, and the sampled network draws."""
    flat = trial.flat()
    channels, classes = (1, 10) if trial.kind("data") == "digits" else (3, 10)
    size = flat["data.size"]
    family = trial.bound("family")(channels, size, classes)
    labels = torch.arange(images) % classes
    batch = Batch(torch.rand(images, channels, size, size) * 2 - 1, labels, Noise(0, torch.arange(images)), images)
    optimizers = family.optimizers()
    for loss in family.losses(family.networks, batch):
        loss.value.backward()
        if loss.update:
            optimizers[loss.network].step()
            optimizers[loss.network].zero_grad()
        assert torch.isfinite(loss.value)
    network = family.networks[family.sampled].eval()
    with torch.no_grad():
        drawn = family.sample(network, Noise(1, torch.arange(2)), labels[:2] if family.classes else None)
    assert drawn.shape == (2, channels, size, size)
    assert drawn.abs().max() <= 1


@pytest.mark.parametrize("file", FILES, ids=ident)
def test_the_corners_of_a_shipped_space_build_and_run_one_step(file):
    sweep = load_sweep(file, scale=cheapest(file))
    for overrides in SearchSpace.of(sweep).corners():
        trial = sweep.trial(overrides)
        if "sampler.steps" in trial.flat():
            trial = trial.with_overrides({"sampler.steps": 2})
        one_step(trial)
