"""DINOv2's network against timm's, and its weights file."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.errors import GensweepError
from gensweep.files import file_sha256
from gensweep.metrics import dinov2 as module
from gensweep.metrics.dinov2 import VITS14_WEIGHTS, VisionTransformer
from gensweep.metrics.weights import WeightsFile


def randomised() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> VisionTransformer:
    return randomised()


def timms(state: dict[str, Tensor], size: int):
    import timm  # every process of the tests would import it for seconds as it collects them

    theirs = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=size)
    theirs.load_state_dict({name: value for name, value in state.items() if name != "mask_token"})
    return theirs.eval()


@pytest.mark.trains
@torch.no_grad()
@pytest.mark.parametrize("size", [56, 518])
def test_network_equals_timms(size: int, network: VisionTransformer):
    positions = network.positions(size // 14, size // 14)
    theirs = timms(network.state_dict() | {"pos_embed": positions}, size)
    x = torch.randn(1, 3, size, size)
    expected = theirs(x)
    assert float(expected.std()) > 0.05
    assert float((network(x) - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.parametrize("size", [14, 56, 224, 518, 532])
def test_positions_equal_the_published_code(size: int, network: VisionTransformer):
    """Its `interpolate_pos_encoding`: a bicubic with the scale (patches + 0.1) / 37, for any number of patches."""
    grid = network.pos_embed[:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    scale = (size // 14 + 0.1) / math.sqrt(1369)
    expected = grid if size == 518 else F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    found = network.positions(size // 14, size // 14)
    assert found.shape == (1, 1 + (size // 14) ** 2, 384)
    torch.testing.assert_close(found[:, 1:], expected.permute(0, 2, 3, 1).flatten(1, 2))
    assert torch.equal(found[:, 0], network.pos_embed[:, 0])


def test_parameters_match_the_published_file(network: VisionTransformer):
    """22,056,576 in 174 tensors, as facebookresearch/dinov2 documents 21 M of them."""
    names = set(network.state_dict())
    assert {"cls_token", "pos_embed", "mask_token", "patch_embed.proj.weight", "norm.bias"} <= names
    assert sum(value.numel() for value in network.state_dict().values()) == 22_056_576
    assert len(names) == 5 + 2 + 12 * 14


def test_foreign_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.zeros(1)}, other := tmp_path / "other.pth")
    with pytest.raises(GensweepError, match="SHA-256 does not start with"):
        module.dinov2("cpu", tmp_path, weights=str(other))
    monkeypatch.setattr(module, "VITS14_WEIGHTS", WeightsFile(VITS14_WEIGHTS.url, file_sha256(other), "dinov2"))
    with pytest.raises(GensweepError, match="has the weights of another network"):
        module.dinov2("cpu", tmp_path, weights=str(other))
