"""Statistics of real images for metrics: features, moments, distances, a classifier; computed once and cached."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Float64, Int, Int64, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gensweep.data.images import Images
from gensweep.files import locked, replacing, unwritable, write_tensors
from gensweep.metrics.extractors import QUANTISATION, Extractor
from gensweep.metrics.moments import Moments
from gensweep.metrics.probe import Classifier, fit_classifier, linear
from gensweep.noise import Noise

#: Content and layout version of a cache file.
MOMENTS_FORMAT = "gensweep moments 2"
FEATURES_FORMAT = "gensweep features 2"
CLASSIFIER_FORMAT = "gensweep classifier 4"
DISTANCES_FORMAT = "gensweep distances 2"
#: Largest number of real images with kept features: 410 MB at 2,048 features.
MAX_REFERENCE_FEATURES = 50_000
#: Batch size of real images.
REFERENCE_BATCH = 128
#: Seed of the choice of images.
SPREAD_STREAM = 0


def reference_name(images: Images) -> str:
    """The `reference` of an Identity: name, number of images, size and the start of the fingerprint."""
    n, _, height, width = images.pixels.shape
    return f"{images.name} ({n:,} images, {width}x{height})#{images.fingerprint[:16]}"


def labels_hash(images: Images) -> str:
    """Hash of labels and class names: the base of a fine-tuning may label the same images otherwise."""
    names = json.dumps(images.class_names).encode()
    return hashlib.sha256(names + images.labels.cpu().long().numpy().tobytes()).hexdigest()[:16]


def spread(n: int, most: int) -> Int[Tensor, " k"]:
    """Indices of at most `most` of n images: one from each of equal parts, in order.

    The choice within a part is random but fixed: steps of equal length could miss classes if these alternate.
    """
    k = min(n, most)
    edges = torch.arange(k + 1) * n // max(k, 1)
    return edges[:-1] + (Noise(0, torch.arange(k)).uniform(stream=SPREAD_STREAM) * edges.diff()).long()


def nearest(
    y: Float[Tensor, "m d"], x: Float[Tensor, "n d"] | None = None, k: int = 1
) -> tuple[Float64[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """The k nearest y of each x, nearest first: distances and indices; without x, the k nearest other y of each y.

    Computed on the CPU; needs k < m.
    """
    from sklearn.neighbors import NearestNeighbors  # importing it takes a second

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(y.numpy(force=True))
    distance, position = search.kneighbors(None if x is None else x.numpy(force=True))
    return torch.from_numpy(distance).double().to(y.device), torch.from_numpy(position).to(y.device)


@dataclass(eq=False)
class Real:
    """Features of a data set, unflipped, as the reference of any metric.

    `unseen` returns images of the same classes that no model is trained on; None without any.
    """

    images: Images
    extractor: Extractor
    cache: Path
    unseen: Callable[[], Images | None] = lambda: None

    @property
    def name(self) -> str:
        """The `reference` of an Identity."""
        return reference_name(self.images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.images.class_names

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features of all images."""
        whole = "features" in self.__dict__ and len(self.features) == len(self.images.pixels)

        def compute() -> dict[str, Tensor]:
            moments = Moments(self.extractor.num_features)
            for batch in torch.split(self.features, REFERENCE_BATCH) if whole else self._seen(self.images.pixels):
                moments.update(batch)
            return {"state": moments.state}

        return Moments(self.extractor.num_features, state=self._kept(MOMENTS_FORMAT, compute)["state"])

    @cached_property
    def features(self) -> Float[Tensor, "k d"]:
        """The features of at most MAX_REFERENCE_FEATURES images, evenly chosen from all, on the CPU."""

        def compute() -> dict[str, Tensor]:
            pixels = self.images.pixels[spread(len(self.images.pixels), MAX_REFERENCE_FEATURES)]
            return {"features": torch.cat([batch.cpu() for batch in self._seen(pixels)])}

        return self._kept(FEATURES_FORMAT, compute)["features"]

    @property
    def labels(self) -> Int[Tensor, " k"]:
        """Classes of those images."""
        return self.images.labels[spread(len(self.images.labels), MAX_REFERENCE_FEATURES)]

    def pixels(self, positions: Int[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        """Some of those images."""
        return self.images.pixels[spread(len(self.images.pixels), MAX_REFERENCE_FEATURES)[positions]]

    def distances(self) -> Float64[Tensor, " k"]:
        """Distance of each of those images to the nearest other one."""

        def compute() -> dict[str, Tensor]:
            return {"distances": nearest(self.features)[0][:, 0].contiguous()}

        return self._kept(DISTANCES_FORMAT, compute)["distances"]

    def classifier(self) -> Classifier:
        """A probe of those images, tested on unseen ones."""
        images = self.unseen()
        unseen = None if images is None else Real(images, self.extractor, self.cache)

        def compute() -> dict[str, Tensor]:
            tested = None if unseen is None else (unseen.features, unseen.labels)
            found = fit_classifier(self.features, self.labels, len(self.class_names), tested)
            return {**found.probe.state_dict(), "ceiling": torch.tensor(found.ceiling, dtype=torch.float64)}

        tested_on = "a part" if unseen is None else f"{unseen.name} {labels_hash(unseen.images)}"
        format = f"{CLASSIFIER_FORMAT}, labels {labels_hash(self.images)}, tested on {tested_on}"
        entry = self._kept(format, compute)
        return Classifier(linear(entry["weight"], entry["bias"]), entry["ceiling"].item())

    def _kept(self, format: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        key = {
            "format": format,
            "reference": self.name,
            "fingerprint": self.images.fingerprint,
            "channels": str(self.images.pixels.shape[1]),
            "quantisation": QUANTISATION,
            "extractor": self.extractor.id,
        }
        return kept(self.cache, key, compute)

    def _seen(self, pixels: UInt8[Tensor, "n c h w"]) -> Iterator[Float[Tensor, "b d"]]:
        device = next(self.extractor.parameters()).device
        for batch in torch.split(pixels, REFERENCE_BATCH):
            yield self.extractor(batch.to(device))


def kept(cache: Path, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Cached tensors with this key; computed and stored if missing.

    The key contains everything that they depend on; the file's name is its hash.  One of several concurrent trials
    computes, the others wait.  A damaged entry, or one with another key, is computed again, with a warning.
    Raises GensweepError if the cache is not writable.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    file = cache / "references" / f"{name}.safetensors"
    if (found := _read(file, key)) is not None:
        return found
    with locked(file):
        if (found := _read(file, key)) is not None:
            return found
        if file.exists():
            warnings.warn(f"{file}: these reference statistics are damaged; they are computed again", stacklevel=2)
        tensors = compute()
        try:
            with replacing(file) as aside:
                write_tensors(aside, tensors, {**key, "sha256": digest(tensors)})
        except (OSError, SafetensorError) as error:
            raise unwritable(file.parent, error) from error
        return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors on the CPU, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].contiguous().numpy().data)
    return found.hexdigest()


def _read(file: Path, key: Mapping[str, str]) -> dict[str, Tensor] | None:
    """Content of a file, or None if it is missing or invalid."""
    try:
        with safe_open(file, framework="pt") as entry:
            metadata = entry.metadata() or {}
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return None
    trusted = metadata.get("sha256") == digest(tensors) and key.items() <= metadata.items()
    return tensors if trusted else None
