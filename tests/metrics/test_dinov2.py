"""DINOv2's network against timm's, and its weights file."""

import math
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.errors import ConfigError, GensweepError
from gensweep.files import file_sha256
from gensweep.metrics import dinov2 as module
from gensweep.metrics.dinov2 import VITS14_WEIGHTS, VisionTransformer, _extractor
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
def test_equals_timms_network_at_the_size_that_positions_were_learnt_for(network: VisionTransformer):
    theirs = timms(network.state_dict(), 518)
    x = torch.randn(1, 3, 518, 518)
    expected = theirs(x)
    assert float(expected.std()) > 0.05
    assert float((network(x) - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.trains
@torch.no_grad()
def test_equals_timms_network_at_another_size_with_the_same_positions(network: VisionTransformer):
    state = network.state_dict()
    theirs = timms(state | {"pos_embed": network.positions(4, 4)}, 56)
    x = torch.randn(2, 3, 56, 56)
    assert float((network(x) - theirs(x)).norm()) <= 1e-5 * float(theirs(x).norm())


@pytest.mark.parametrize("size", [14, 56, 224, 518, 532])
def test_positions_are_those_that_the_published_code_makes(size: int, network: VisionTransformer):
    """Its `interpolate_pos_encoding`: a bicubic with the scale (patches + 0.1) / 37, for any number of patches."""
    grid = network.pos_embed[:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    scale = (size // 14 + 0.1) / math.sqrt(1369)
    expected = grid if size == 518 else F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    found = network.positions(size // 14, size // 14)
    assert found.shape == (1, 1 + (size // 14) ** 2, 384)
    torch.testing.assert_close(found[:, 1:], expected.permute(0, 2, 3, 1).flatten(1, 2))
    assert torch.equal(found[:, 0], network.pos_embed[:, 0])


def test_parameters_are_those_of_the_published_file(network: VisionTransformer):
    """22,056,576 in 174 tensors, as facebookresearch/dinov2 documents 21 M of them."""
    names = set(network.state_dict())
    assert {"cls_token", "pos_embed", "mask_token", "patch_embed.proj.weight", "norm.bias"} <= names
    block = {"norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}
    of_block = {f"blocks.11.{part}.{kind}" for part in block for kind in ("weight", "bias")}
    assert of_block | {"blocks.11.ls1.gamma", "blocks.11.ls2.gamma"} <= names
    assert sum(value.numel() for value in network.state_dict().values()) == 22_056_576
    assert len(names) == 5 + 2 + 12 * 14


def test_its_features_do_not_depend_on_the_batch_and_take_any_size(network: VisionTransformer, tmp_path: Path):
    (file := tmp_path / "weights").write_bytes(b"any")
    extractor = _extractor(network, "cpu", 56, file)
    assert extractor.id == f"dinov2_vits14/384@56px/float32/sha256:{file_sha256(file)[:12]}"
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    whole = extractor(images)
    assert whole.shape == (5, 384)
    torch.testing.assert_close(torch.cat([extractor(images[:2]), extractor(images[2:])]), whole, rtol=1e-4, atol=1e-4)
    assert extractor(torch.zeros(1, 1, 100, 100, dtype=torch.uint8)).shape == (1, 384)


@pytest.mark.trains
def test_missing_and_foreign_weights_are_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(GensweepError, match=r"cannot be fetched .* get https://\S+ on another machine and put it"):
        module.dinov2("cpu", tmp_path)
    with pytest.raises(ConfigError, match=r"is not a file; download https://\S+dinov2_vits14_pretrain\.pth"):
        module.dinov2("cpu", tmp_path, weights="nowhere.pth")
    torch.save({"a": torch.zeros(1)}, other := tmp_path / "other.pth")
    with pytest.raises(GensweepError, match="SHA-256 does not start with"):
        module.dinov2("cpu", tmp_path, weights=str(other))
    monkeypatch.setattr(module, "VITS14_WEIGHTS", WeightsFile(VITS14_WEIGHTS.url, file_sha256(other), "dinov2"))
    with pytest.raises(GensweepError, match="holds the weights of another network"):
        module.dinov2("cpu", tmp_path, weights=str(other))
