"""What a score is a score of: two numbers are compared only if their identities are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from gensweep.metrics.quantisation import QUANTISATION

__all__ = ["MetricIdentity"]

_WORDS = {
    "metric": "metric",
    "extractor": "feature extractor",
    "samples": "number of images",
    "timesteps": "noise levels an image",
    "reference": "reference images",
    "quantisation": "quantisation",
    "weights": "weights",
    "steps": "sampler steps",
}


@dataclass(frozen=True)
class MetricIdentity:
    """Everything that a score depends on, besides the model.

    `samples` counts generated images, or the real ones whose likelihood was computed; that has no `extractor`, but the
    number of noise levels at which it looked at each image, `timesteps`, or "all".  `reference` is the name and
    fingerprint of the real images; `weights` says which of the model's weights were judged: the main average (ema), one
    with a multiple of its half-life (ema@0.25), or raw ones (raw).  `steps` is given where images were drawn in fewer
    steps of the sampler than the model is set to.
    """

    metric: str
    extractor: str | None
    samples: int
    reference: str
    quantisation: str = QUANTISATION
    weights: str = "ema"
    timesteps: int | Literal["all"] | None = None
    steps: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MetricIdentity:
        """The inverse of `as_dict`; keys of later versions are ignored."""
        return cls(**{"extractor": None} | {f.name: values[f.name] for f in fields(cls) if f.name in values})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; what a metric does not depend on is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def short(self) -> str:
        """One line for tables: "fd, 500 samples, efficientnet_lite0/1280@128px, against digits"."""
        extractor = f"{self.timesteps} timesteps" if self.extractor is None else self.extractor.partition("/sha256:")[0]
        weights = "" if self.weights == "ema" else f", {self.weights} weights"
        steps = "" if self.steps is None else f", {self.steps} steps"
        reference = self.reference.partition("#")[0]
        return f"{self.metric}, {self.samples:,} samples, {extractor}, against {reference}{weights}{steps}"

    def differences(self, other: MetricIdentity) -> list[str]:
        """Where two identities differ, in words; empty if they are equal."""
        mine, theirs = self.as_dict(), other.as_dict()
        return [
            f"{word}: {mine.get(name)} against {theirs.get(name)}"
            for name, word in _WORDS.items()
            if mine.get(name) != theirs.get(name)
        ]
