"""Features of a small network that is trained on the training images alone, once per data set."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import convert_conv2d_weight_memory_format

from gensweep.data.images import Images
from gensweep.machine import one_thread
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.real import digest, kept

#: Version of the recipe below; another one gives other features.
DOMAIN_RECIPE = "gensweep domain network 1"
#: Side of resized images in pixels.
DOMAIN_PIXELS = 32
DOMAIN_FEATURES = 128
#: Steps of the training, about a minute on one core, and images of a step.
STEPS, BATCH = 400, 128
#: Largest learning rate of the one-cycle schedule, and weight decay.
PEAK_RATE, WEIGHT_DECAY = 3e-3, 0.05
#: Images are shifted at random by at most this many pixels.
SHIFT = 4
#: Turns by a quarter that a network without labels learns to tell apart.
TURNS = 4


@EXTRACTORS.register("domain")
def domain(device: torch.device | str, cache: Path, images: Images) -> Extractor:
    """128 features of a network that learned the classes of the training images, resized to 32 pixels.

    Without classes it learned by how many quarters an image is turned (Gidaris et al. 2018).  The training has a fixed
    seed and runs on the CPU; the cache keeps the weights.
    """
    key = {"format": DOMAIN_RECIPE, "fingerprint": images.fingerprint, "flip": str(images.flip)}
    weights = kept(cache, key, lambda: _trained(images))
    with seeded():
        network = small_network()
    network.load_state_dict(weights)
    return small_extractor("domain", network.to(device))


def small_extractor(name: str, network: nn.Module) -> Extractor:
    """The extractor of a small network."""
    weights = digest({key: value.cpu() for key, value in network.state_dict().items()})
    id = f"{name}/{DOMAIN_FEATURES}@{DOMAIN_PIXELS}px/float32/sha256:{weights[:12]}"
    return Extractor(network, prepared, id=id, num_features=DOMAIN_FEATURES)


def prepared(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 32 32"]:
    """Images in [-1, 1], resized."""
    x = F.interpolate(images.float(), size=(DOMAIN_PIXELS, DOMAIN_PIXELS), mode="bilinear", antialias=True)
    return (x / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def small_network() -> nn.Module:
    """Four convolutions with random weights, averaged over the image."""
    layers, channels = list[nn.Module](), 3
    for width, stride in ((32, 1), (64, 2), (128, 2), (DOMAIN_FEATURES, 2)):
        convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return convert_conv2d_weight_memory_format(network, torch.channels_last)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Run with a seed, and leave the generator of the caller alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@one_thread()
@seeded()
def _trained(images: Images) -> dict[str, Tensor]:
    """Weights of a network that learned labels or turns."""
    labelled, network = images.classes > 1, small_network()
    model = nn.Sequential(
        OrderedDict(network=network, head=nn.Linear(DOMAIN_FEATURES, images.classes if labelled else TURNS))
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,))
        x, labels = prepared(images.pixels[chosen].expand(-1, 3, -1, -1)), images.labels[chosen]
        left, top, mirrored = (int(torch.randint(most, ())) for most in (2 * SHIFT + 1, 2 * SHIFT + 1, 2))
        x = F.pad(x, [SHIFT] * 4, mode="reflect")[..., top : top + DOMAIN_PIXELS, left : left + DOMAIN_PIXELS]
        x = x.flip(3) if images.flip and mirrored else x
        if not labelled:
            x = torch.cat([torch.rot90(x[turn::TURNS], turn, (2, 3)) for turn in range(TURNS)])
            labels = torch.arange(TURNS).repeat_interleave(BATCH // TURNS)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(x), labels))
        optimizer.step()
        schedule.step()
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
