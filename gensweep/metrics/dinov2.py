"""DINOv2's small vision transformer: features learned without labels.

Shapes: b images, h and w patches of 14 x 14 pixels, t = 1 + h w tokens, where the first one represents the whole image,
and d numbers per token.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Interval, MultipleOf, doc
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.data.images import Images
from gensweep.errors import GensweepError
from gensweep.files import file_sha256
from gensweep.metrics.extractors import EXTRACTORS, Extractor, WeightsPath
from gensweep.metrics.weights import PUBLISHED, WeightsFile

#: Side of a patch in pixels.
PATCH_PIXELS = 14
DINOV2_FEATURES = 384
TRANSFORMER_BLOCKS = 12
ATTENTION_HEADS = 6
#: Patches along a side of the 518 x 518 pixel images on which positions were learned.
LEARNT_PATCHES = 518 // PATCH_PIXELS
VITS14_WEIGHTS = PUBLISHED["dinov2"] = WeightsFile(
    "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
    sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    extractor="dinov2",
)
#: ImageNet's mean and standard deviation by channel, of values in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@EXTRACTORS.register("dinov2")
def dinov2(
    device: torch.device | str,
    cache: Path,
    images: Images | None = None,
    *,
    resolution: Annotated[
        int, Interval(ge=PATCH_PIXELS, le=518), MultipleOf(PATCH_PIXELS), doc("pixels that images are resized to")
    ] = 224,
    weights: WeightsPath = None,
) -> Extractor:
    """384 features of DINOv2 ViT-S/14, images resized to `resolution` pixels.

    They are the network's output for its first token.  Distances of these features agree better with people than those
    of features learned from ImageNet's labels (Stein et al. 2023, with the large network).  Source: Oquab et al. 2023,
    through the published file of the small network without registers.
    """
    file = VITS14_WEIGHTS.locate(weights, cache)
    network = VisionTransformer()
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        raise GensweepError(f"{file} has the weights of another network: {str(error).splitlines()[0]}") from None
    mean, deviation = (torch.tensor(values, device=device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def prepare(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 r r"]:
        # Cubic interpolation may leave the range of bytes, where an image file would clip.
        x = F.interpolate(images.float(), size=(resolution, resolution), mode="bicubic", antialias=True)
        return (x.clamp(0, 255) / 255 - mean) / deviation

    return Extractor(
        network.to(device=device),
        prepare,
        id=f"dinov2_vits14/{DINOV2_FEATURES}@{resolution}px/float32/sha256:{file_sha256(file)[:12]}",
        num_features=DINOV2_FEATURES,
    )


class VisionTransformer(nn.Module):
    """ViT-S/14 without registers; parameter names and shapes match the published file."""

    def __init__(self) -> None:
        super().__init__()
        patches = nn.Conv2d(3, DINOV2_FEATURES, kernel_size=PATCH_PIXELS, stride=PATCH_PIXELS)
        self.patch_embed = nn.Sequential(OrderedDict(proj=patches))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DINOV2_FEATURES))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + LEARNT_PATCHES**2, DINOV2_FEATURES))
        self.mask_token = nn.Parameter(torch.zeros(1, DINOV2_FEATURES))  # used only in training
        self.blocks = nn.ModuleList([_Block() for _ in range(TRANSFORMER_BLOCKS)])
        self.norm = nn.LayerNorm(DINOV2_FEATURES, eps=1e-6)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The first token's output; h and w must be multiples of 14."""
        patches = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches.flatten(2).mT], 1)
        tokens = tokens + self.positions(patches.shape[2], patches.shape[3])
        for block in self.blocks:
            tokens = block(tokens)
        first: Tensor = self.norm(tokens[:, 0])
        return first

    def positions(self, h: int, w: int) -> Float[Tensor, "1 t d"]:
        """Positions learned for 37 x 37 patches, interpolated to any number.

        Bicubic, with coordinates as for a tenth of a patch more on each side: the published features have this offset,
        a guard against rounding.
        """
        if (h, w) == (LEARNT_PATCHES, LEARNT_PATCHES):
            return self.pos_embed
        learnt = self.pos_embed[:, 1:].mT.reshape(1, DINOV2_FEATURES, LEARNT_PATCHES, LEARNT_PATCHES)
        scale = ((h + 0.1) / LEARNT_PATCHES, (w + 0.1) / LEARNT_PATCHES)
        resized = F.interpolate(learnt, scale_factor=scale, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).mT], 1)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(DINOV2_FEATURES, eps=1e-6) for _ in range(2))
        first, second = nn.Linear(DINOV2_FEATURES, 4 * DINOV2_FEATURES), nn.Linear(4 * DINOV2_FEATURES, DINOV2_FEATURES)
        self.attn, self.mlp = _Attention(), nn.Sequential(OrderedDict(fc1=first, act=nn.GELU(), fc2=second))
        self.ls1, self.ls2 = _Scale(), _Scale()

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DINOV2_FEATURES, 3 * DINOV2_FEATURES)
        self.proj = nn.Linear(DINOV2_FEATURES, DINOV2_FEATURES)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, ATTENTION_HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(DINOV2_FEATURES))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        scaled: Tensor = x * self.gamma
        return scaled
