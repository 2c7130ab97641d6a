"""What a score is a score of: two numbers are compared only if their identities are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gensweep.metrics.images import QUANTISATION

__all__ = ["MetricIdentity"]

_WORDS = {
    "metric": "metric",
    "extractor": "feature extractor",
    "samples": "number of generated images",
    "reference": "reference images",
    "quantisation": "quantisation",
    "weights": "weights",
}


@dataclass(frozen=True)
class MetricIdentity:
    """Everything that a score depends on, besides the model.

    `reference` is the name and fingerprint of the real images; `weights` says which of the model's weights drew the
    samples: the main average (ema), one with a multiple of its half-life (ema@0.25), or raw ones (raw).
    """

    metric: str
    extractor: str
    samples: int
    reference: str
    quantisation: str = QUANTISATION
    weights: str = "ema"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MetricIdentity:
        """The inverse of `as_dict`; keys of later versions are ignored."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def short(self) -> str:
        """One line for tables: "fid, 500 samples, efficientnet_lite0/1280@128px, against digits"."""
        extractor = self.extractor.partition("/sha256:")[0]
        weights = "" if self.weights == "ema" else f", {self.weights} weights"
        reference = self.reference.partition("#")[0]
        return f"{self.metric}, {self.samples:,} samples, {extractor}, against {reference}{weights}"

    def differences(self, other: MetricIdentity) -> list[str]:
        """Where two identities differ, in words; empty if they are equal."""
        mine, theirs = self.as_dict(), other.as_dict()
        return [
            f"{word}: {mine[name]} against {theirs[name]}"
            for name, word in _WORDS.items()
            if mine[name] != theirs[name]
        ]
