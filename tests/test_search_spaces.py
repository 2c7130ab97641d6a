"""All search spaces are valid at every scale, and the corners of shipped ones run one step."""

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
from gensweep.search.space import sample

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[1]
FILES = sorted(ROOT.glob("search_spaces/*.yaml"))
EVERY = [*FILES, *sorted(ROOT.glob("experiments/*/*.yaml"))]
SCALED = [(file, scale) for file in EVERY for scale in [None, *scale_names(file)]]


def cheapest(file: Path) -> str | None:
    """The scale that a CPU is meant for."""
    return "cpu" if "cpu" in scale_names(file) else None


def ident(value):
    return value.stem if isinstance(value, Path) else str(value)


@pytest.mark.parametrize(("file", "scale"), SCALED, ids=ident)
def test_a_space_is_valid_at_every_scale_corners_included(file, scale):
    sweep = load_sweep(file, scale=scale)
    for trial in sweep.corners:
        assert trial.flat()["training.batch_size"] % sweep.resources.workers == 0
    for seed in range(5):
        sweep.trial(sample(sweep.nodes(), seed))


@pytest.mark.parametrize("file", EVERY, ids=ident)
def test_a_space_is_valid_for_editors(file):
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(sweep_schema())))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text()))] == []


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
    sweep, alike = load_sweep(file, scale=cheapest(file)), dict[str, TrialConfig]()
    for trial in sweep.corners:
        if "sampler.steps" in trial.flat():
            trial = trial.with_overrides({"sampler.steps": 2})
        alike[str({key: value for key, value in trial.flat().items() if matters(key)})] = trial
    for trial in alike.values():
        one_step(trial)


def matters(key: str) -> bool:
    """Whether one step looks at a setting: of the data at their kind and size, and at none of the loop around it."""
    section = key.partition(".")[0]
    return key in ("data.kind", "data.size") or section not in ("data", "training", "evaluation", "start")


@pytest.mark.parametrize("scale", [None, "cpu"])
def test_the_two_sides_of_gan_vs_ddpm_have_equal_budgets(scale):
    """In floating point operations of training, whatever the searched settings; and all else that a verdict needs."""
    budgets, measured = [], []
    for side in ("gan", "diffusion"):
        sweep = load_sweep(ROOT / "experiments" / "cifar10-pictures" / f"gan_vs_ddpm_{side}.yaml", scale=scale)
        budgets.append(sweep.budget)
        flat = sweep.corners[0].flat()
        measured.append({key: value for key, value in flat.items() if key.startswith(("data.", "evaluation."))})
        measured[-1]["trials"] = sweep.search.trials
    assert measured[0] == measured[1]
    assert budgets[0] == budgets[1]
    assert budgets[0].flops is not None
