"""Inception v3 as used for FID in the literature; only its distance is called FID."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from gensweep.data.images import Images
from gensweep.files import file_sha256
from gensweep.metrics.extractors import EXTRACTORS, Extractor, WeightsPath, fold_batch_norm
from gensweep.metrics.weights import PUBLISHED, WeightsFile

INCEPTION_FEATURES = 2048
#: Side of resized images in pixels.
INCEPTION_PIXELS = 299
FID_2015_WEIGHTS = PUBLISHED["inception"] = WeightsFile(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d",
    extractor="inception",
)


@EXTRACTORS.register("inception")
def inception(
    device: torch.device | str, cache: Path, images: Images | None = None, *, weights: WeightsPath = None
) -> Extractor:
    """The FID-2015 Inception network, pool3, 2,048 features.

    Source: Heusel et al. 2017, with the weights that pytorch-fid converted from TensorFlow.
    """
    return from_weights(FID_2015_WEIGHTS.locate(weights, cache), device)


def from_weights(file: Path, device: torch.device | str) -> Extractor:
    """The same with any weights of that layout; the extractor's id contains their hash."""
    network = fid_network()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    network.eval()
    network.fc = nn.Identity()
    for block in network.modules():
        if hasattr(block, "conv") and hasattr(block, "bn"):
            fold_batch_norm(block, "conv", "bn")

    def prepare(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 299 299"]:
        x = F.interpolate(images.float() / 255, size=(INCEPTION_PIXELS, INCEPTION_PIXELS), mode="bilinear")
        return (2 * x - 1).contiguous(memory_format=torch.channels_last)

    return Extractor(
        convert_conv2d_weight_memory_format(network.to(device=device), torch.channels_last),
        prepare,
        id=f"inception2015/{INCEPTION_FEATURES}@{INCEPTION_PIXELS}px/float32/sha256:{file_sha256(file)[:12]}",
        num_features=INCEPTION_FEATURES,
    )


def fid_network() -> nn.Module:
    """The FID-2015 network without weights; parameter names and shapes match the published file.

    It is torchvision's, with TensorFlow's pooling in blocks A, C and E: averages ignore padding, and the last block
    uses a maximum.
    """
    # torchvision imports more slowly than torch, and other extractors do not need it
    from torchvision.models.inception import Inception3

    network: nn.Module = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b"):
        _repool(network.get_submodule(name), average)
    _repool(network.get_submodule("Mixed_7c"), partial(F.max_pool2d, kernel_size=3, stride=1, padding=1))
    return network


def _repool(block: nn.Module, pool: Callable[[Tensor], Tensor]) -> None:
    """Apply a block's last branch to another pooling; torchvision's own pooling is wasted, 2 % of the time."""
    inputs: list[Tensor] = []
    block.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    block.get_submodule("branch_pool").register_forward_pre_hook(lambda _, arguments: (pool(inputs.pop()),))
