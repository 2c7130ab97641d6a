"""A family from a plug-in, without the sections that the families of the package have."""

from pathlib import Path

import pytest
import untrained

from gensweep import plugins
from gensweep.cli.main import run
from gensweep.config import TrialConfig

FAMILY = '''
import torch
from torch import nn

from gensweep.families.family import FAMILIES, Loss
from gensweep.families.optimizers import RateSchedule


class MeanImage(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))

    def forward(self, images):
        return (images - self.mean).square().mean()


@FAMILIES.register("mean_image")
class MeanImageFamily:
    """Draws the mean of the training images, and noise."""

    sampled, classes, clip = "model", 0, None
    rate_schedule = RateSchedule(0, "constant")

    def __init__(self, channels, size, classes, *, noise: float = 0.1):
        self.shape, self.noise, self.memories = (channels, size, size), noise, {}
        self.networks = {"model": MeanImage(self.shape)}

    def optimizers(self):
        return {"model": torch.optim.SGD(self.networks["model"].parameters(), 0.1)}

    def losses(self, networks, batch):
        yield Loss("model", networks["model"](batch.images), "mse")

    def sample(self, network, noise, labels):
        return (network.mean + self.noise * noise.normal(*self.shape, stream=90)).clamp(-1, 1)
'''


@pytest.fixture
def checkpoint(here):
    Path("mean_image.py").write_text(FAMILY)
    plugins.load("mean_image.py")
    sections = {"plugins": ["mean_image.py"], "family": {"kind": "mean_image"}}
    return untrained.checkpoint(here, TrialConfig.from_dict(untrained.DIGITS | sections))


def test_a_family_without_a_network_section_is_exported(checkpoint):
    assert run(["export", str(checkpoint), "--to", "safetensors", "-o", "out"]) == 0
    card = Path("out/README.md").read_text()
    assert "- Network: MeanImage, 64 parameters" in card
    assert run(["sample", "./out", "-n", "2", "-o", "images.png"]) == 0


def test_a_refused_target_names_those_that_work(checkpoint, capsys):
    assert run(["export", str(checkpoint), "--to", "diffusers", "-o", "out"]) == 2
    assert capsys.readouterr().err.endswith("choose --to safetensors or onnx\n")
    assert not Path("out").exists()
