"""Results from the evaluator to the report, and which of two scores is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, Literal, NamedTuple, Self, TypeAlias, get_args, get_origin, get_type_hints

Mode: TypeAlias = Literal["min", "max"]
"""Whether the lowest or the highest value of a metric is the best."""
BETTER: Mapping[str, str] = {"min": "lower", "max": "higher"}

Unit: TypeAlias = Literal["images", "flops", "device_seconds"]
"""The unit of compute: training images, floating point operations of training, or its seconds times devices."""

Phase: TypeAlias = Literal[
    "starting",
    "fetching checkpoints",
    "loading data",
    "reading the feature extractor",
    "computing reference statistics",
    "building the networks",
    "compiling",
    "training",
    "drawing samples",
    "scoring",
    "saving",
]
"""The current activity of a trial's workers, as displayed."""

#: Phases in which a trial may have trained since its last checkpoint.
UNSAVED: tuple[Phase, ...] = ("training", "drawing samples", "scoring", "saving")
#: Phases that one trial runs for all others, and that may take many minutes.
DONE_ONCE: tuple[Phase, ...] = ("computing reference statistics", "compiling")

#: The number of images of a training that has another limit.
MAX_IMAGES = 10**12

#: Standard errors on each side of a 95 % interval.
STANDARD_ERRORS = 1.959964

#: The parts of a score that correct the bias of few images.
UNBIASED_PARTS = ("corrected", "error", "low", "high", "needed")

#: The parts of an identity, and their names in messages.
PARTS = {
    "metric": "metric",
    "extractor": "feature extractor",
    "samples": "generated images",
    "timesteps": "noise levels an image",
    "latents": "latents an image",
    "reference": "reference images",
    "quantisation": "quantisation",
    "weights": "weights",
    "labels": "classes of generated images",
}

#: How the classes of generated images are chosen: each at random.
SAMPLED_LABELS = "sampled"


def family_name(kind: str) -> str:
    """A family's kind in a sentence: "GAN", "diffusion GAN".  Words of three letters count as acronyms."""
    return " ".join(word.upper() if len(word) == 3 else word for word in kind.split("_"))


@dataclass(frozen=True)
class Record:
    """Results that can be stored as JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without None."""
        return asdict(self, dict_factory=lambda items: {name: value for name, value in items if value is not None})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`, also after JSON; ignores fields of later versions."""
        return cls(**{name: read(values[name]) for name, read in _readers(cls).items() if name in values})  # type: ignore[arg-type]


@cache
def _readers(kind: type[Record]) -> dict[str, Callable[[Any], Any]]:
    """Functions that rebuild each field from its plain value."""
    hints = get_type_hints(kind)
    return {each.name: _reader(hints[each.name]) for each in fields(kind)}


def _reader(hint: Any) -> Callable[[Any], Any]:
    for record in (hint, *get_args(hint)):
        if isinstance(record, type) and issubclass(record, Record):
            read: Callable[[Any], Any] = record.from_dict
            if get_origin(hint) is Mapping:
                return lambda values: {name: read(value) for name, value in values.items()}
            return lambda value: value if value is None else read(value)
    return tuple if get_origin(hint) is tuple else lambda value: value


@dataclass(frozen=True)
class Identity(Record):
    """Everything that a score depends on, besides the model; only scores of one identity are compared.

    `samples` counts generated images, or for a likelihood the real ones.  A likelihood has no `extractor`, but the
    number of noise levels per image, `timesteps` (or "all"), or that of `latents`, depending on the model.  `reference`
    is the name and fingerprint of the real images; `weights` are the main average (ema), one with a multiple of its
    half-life (ema@0.25), or raw ones (raw).  `labels` is the choice of classes of generated images.
    """

    metric: str
    extractor: str | None
    samples: int
    reference: str
    quantisation: str
    weights: str = "ema"
    timesteps: int | Literal["all"] | None = None
    latents: int | None = None
    labels: str | None = SAMPLED_LABELS

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        return super().from_dict({"extractor": None, "labels": None} | dict(values))

    def differences(self, other: Identity) -> dict[str, str]:
        """Differences between two identities, by name of the part: "generated images: 500 against 2,000"."""
        words = PARTS if self.timesteps is None else PARTS | {"samples": "images"}
        mine, theirs = asdict(self), asdict(other)
        return {
            name: f"{word}: {_format_part(mine[name])} against {_format_part(theirs[name])}"
            for name, word in words.items()
            if mine[name] != theirs[name]
        }


def _format_part(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _interval(mean: float, error: float) -> tuple[float, float]:
    return mean - STANDARD_ERRORS * error, mean + STANDARD_ERRORS * error


@dataclass(frozen=True)
class Anchor(Record):
    """A reference score of images that no model generated.

    `source` names the images, `images` is their number.  `corrected` and `error` are as in a Score.
    """

    value: float
    source: str
    images: int
    corrected: float | None = None
    error: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `value`, the mean of many scores of equally many images."""
        return None if self.error is None else _interval(self.value, self.error)


class Anchors(NamedTuple):
    """The range of useful scores: real images have the floor, and a model must beat the ceiling."""

    floor: Anchor | None = None
    ceiling: Anchor | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the ends `low` and `high` of each interval; unknown values are None."""
        return {
            name: anchor and asdict(anchor) | dict(zip(("low", "high"), anchor.interval or (None, None), strict=True))
            for name, anchor in self._asdict().items()
        }


def order_of(value: float, mode: Mode) -> float:
    """A number that is lower for a better value; the function is its own inverse."""
    return value if mode == "min" else -value


@dataclass(frozen=True)
class Score(Record):
    """A value and everything that it depends on besides the model.

    `corrected` estimates the value for infinitely many images, with its standard `error`, if the metric supports that.
    `low` and `high` are the ends of its 95 % interval; without them it is symmetric.  With fewer than `needed` images a
    part of `corrected` is a guess.  The `floor` is the score of equally many held-out real images, the `ceiling` that
    of noise or of the mean image, if known.
    """

    value: float
    mode: Mode
    identity: Identity
    corrected: float | None = None
    error: float | None = None
    floor: Anchor | None = None
    ceiling: Anchor | None = None
    low: float | None = None
    high: float | None = None
    needed: int | None = None

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.identity.metric

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the 95 % interval of `corrected`."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return None if self.corrected is None or self.error is None else _interval(self.corrected, self.error)

    @property
    def guessed(self) -> bool:
        """True if a part of `corrected` is a guess, because there are too few images."""
        return self.needed is not None and self.identity.samples < self.needed

    @property
    def order(self) -> float:
        """Sort key: lower is better."""
        return order_of(self.value, self.mode)

    @property
    def anchors(self) -> Anchors:
        """Floor and ceiling."""
        return Anchors(self.floor, self.ceiling)

    @property
    def like_noise(self) -> bool:
        """True if it is not better than the ceiling, within the ceiling's 95 % interval."""
        if self.ceiling is None:
            return False
        ends = self.ceiling.interval or (self.ceiling.value,)
        return self.order >= min(order_of(end, self.mode) for end in ends)


@dataclass(frozen=True)
class Cost(Record):
    """Cost of a training so far.

    Training images, floating point operations of training, and its seconds times devices; in addition, operations and
    seconds times devices of all evaluations; seconds of training, of sampling and of scoring the images of this
    evaluation; floating point operations to sample one image; parameters of all networks; bytes of a training step for
    each image of the batch, and the peak memory of the process in bytes.
    """

    images: int | None = None
    flops: float | None = None
    device_seconds: float | None = None
    scoring_flops: float | None = None
    scoring_device_seconds: float | None = None
    train_seconds: float | None = None
    sample_seconds: float | None = None
    evaluate_seconds: float | None = None
    sample_flops: float | None = None
    params: int | None = None
    activation_bytes: int | None = None
    memory_bytes: int | None = None

    @property
    def all_device_seconds(self) -> float:
        """Seconds times devices of training and scoring; 0 if unknown."""
        return (self.device_seconds or 0.0) + (self.scoring_device_seconds or 0.0)


#: Costs of a training by name: fields of a Cost, all of them better if lower.
COSTS = tuple(each.name for each in fields(Cost))


@dataclass(frozen=True)
class Evaluation(Record):
    """The results of an evaluation after `images` training images.

    `scores` are by metric.  `signals` are the other numbers: losses, diversity, details of a metric.
    """

    images: int
    scores: Mapping[str, Score]
    cost: Cost = field(default_factory=Cost)
    signals: Mapping[str, float] = field(default_factory=dict)

    def value(self, name: str) -> float | None:
        """A score by its metric, or a cost by its name; None if unknown."""
        score, cost = self.scores.get(name), getattr(self.cost, name, None)
        return cost if score is None else score.value

    def numbers(self) -> dict[str, float]:
        """All numbers by name, for a table or a tracking server."""
        found = dict(self.signals)
        for name, score in self.scores.items():
            found[name] = score.value
            parts = {f"{name}/{part}": getattr(score, part) for part in UNBIASED_PARTS}
            found |= {part: number for part, number in parts.items() if number is not None}
            for which, anchor in (("floor", score.floor), ("ceiling", score.ceiling)):
                if anchor is not None:
                    numbers = {"": anchor.value, "_corrected": anchor.corrected, "_error": anchor.error}
                    found |= {f"{name}/{which}{end}": value for end, value in numbers.items() if value is not None}
        return found | {name: value for name, value in self.cost.as_dict().items() if name != "images"}


@dataclass(frozen=True)
class SamplingConfig(Record):
    """How a trained model samples images.

    Sampler and steps are None for a family without a sampler, guidance for a model without labels.  `weights` is "ema",
    "ema@0.25" or "raw".  `evaluations` counts network evaluations per image.  `settings` are further settings of the
    sampler, such as the spacing of its levels.
    """

    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    weights: str = ""
    evaluations: int = 0
    settings: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`, also after JSON."""
        return super().from_dict({**values, "settings": tuple(map(tuple, values["settings"]))})


@dataclass(frozen=True)
class Outcome(Record):
    """The score of a trained model with a sampling configuration.

    `samples` images of a `seed` were generated on a `device`.  `checkpoint` is the hash of its tensors; `time` is in
    seconds since 1970.  `signals` are the other numbers, as in an Evaluation.  `as_trained` is true if no sampling
    setting was changed; `changed` are changed settings of the evaluation, by dotted key.  The scores of a `panel` are
    by measure, such as "fd:domain".
    """

    sampling: SamplingConfig
    samples: int
    seed: int
    scores: Mapping[str, Score]
    sample_seconds: float
    evaluate_seconds: float
    device: str
    checkpoint: str
    time: float
    signals: Mapping[str, float] = field(default_factory=dict)
    as_trained: bool = False
    changed: Mapping[str, Any] = field(default_factory=dict)
    panel: bool = False


def better(score: Score, best: Score | None) -> bool:
    """True if a score replaces the best earlier one of the same training.

    Scores of different identities are not comparable; then the later one counts, because the last evaluation of a
    training is the full one.
    """
    return best is None or score.identity != best.identity or score.order < best.order
