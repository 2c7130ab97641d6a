"""Format scores, costs and settings for a table cell or a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gensweep.metrics.titles import metric_title
from gensweep.verdict.recommendation import SURE

if TYPE_CHECKING:
    from gensweep.results import Anchors, Identity, Score, Unit


def format_identity(identity: Identity, *, name_weights: bool = True) -> str:
    """Describe the identity of a score."""
    words = metric_title(identity.metric, identity)
    real = identity.timesteps is not None  # a likelihood
    words += f" of {identity.samples:,} {'real' if real else 'generated'} images"
    words += f" {'from' if real else 'against'} {identity.reference.partition('#')[0]}"
    if real:
        words += f", {identity.timesteps} noise levels or {identity.latents} latents an image"
    if name_weights:
        factor = identity.weights.partition("@")[2]
        words += ", raw weights" if identity.weights == "raw" else ", averaged (EMA) weights"
        words += f", {factor} times the half-life" if factor else ""
    if identity.extractor is not None:
        words += f"; features: {identity.extractor}"
    return f"{words}; quantisation: {identity.quantisation}"


def format_rescored(again: Score, chosen: Score) -> str:
    """Describe a score on fresh seeds next to the best one of the training: "51.2, 1.3 worse"."""
    worse = "worse" if again.order > chosen.order else "better"
    return f"{score(again.value)}, {rough(abs(again.value - chosen.value))} {worse}"


def format_further(value: Score) -> str:
    """Describe a score that does not rank: "FID 3.21 of 50,000 images against cifar10"."""
    title, reference = metric_title(value.metric, value.identity), value.identity.reference.partition("#")[0]
    return f"{title} {score(value.value)} of {value.identity.samples:,} images against {reference}"


def format_guess(value: Score) -> str:
    """A sentence if the value without bias is partly a guess; else ""."""
    if not value.guessed or value.corrected is None:
        return ""
    shown = f"these features need {value.needed:,} images, and {value.identity.samples:,} were used"
    return f"Values without bias marked ~ are partly guessed: {shown}."


def score(value: float | None) -> str:
    """Format a score with about four digits."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def format_interval(value: Score) -> str:
    """The score without the bias of few images, and its 95 % interval: "1,702 (1,655 to 1,749)"; "" without one.

    A leading ~ marks a partly guessed value (see `format_guess`).
    """
    if value.interval is None or value.corrected is None:
        return ""
    low, high = value.interval
    return f"{'~' * value.guessed}{rough(value.corrected)} ({rough(low)} to {rough(high)})"


def number(value: float | None) -> str:
    """A sortable number for programs; "" if there is none."""
    return "" if value is None or not math.isfinite(value) else str(value)


def format_anchors(anchors: Anchors, samples: int) -> str:
    """Floor and ceiling of a score: "Real images score 30.6 (28.5 to 32.8), the mean image 340."."""
    floor, ceiling = anchors
    words = []
    if floor is not None:
        number = "Real images" if floor.images == samples else f"{floor.images:,} real images (all there are)"
        ends = "" if floor.interval is None else " ({} to {})".format(*map(rough, floor.interval))
        words.append(f"{number} score {rough(floor.value)}{ends}")
    if ceiling is not None:
        source, value = ceiling.source, rough(ceiling.value)
        words.append(f"{source} {value}" if words else f"{source[:1].upper()}{source[1:]} scores {value}")
    return f"{', '.join(words)}." if words else ""


def rough(value: float) -> str:
    """Format an uncertain number with about three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_probability(probability: float) -> str:
    """Format a probability in percent; rounding never reaches 0, 100 or SURE."""
    percent = round(100 * probability)
    if probability < SURE:
        percent = min(percent, math.ceil(100 * SURE) - 1)
    return "over 99 %" if percent == 100 else "under 1 %" if percent == 0 else f"{percent} %"


def counted(number: int, thing: str) -> str:
    """Format a number of things: "1 trial", "2 trials"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def count(value: float | None) -> str:
    """Format a count with a suffix: 512, 12.8k, 3.58M, 7.3T."""
    if value is None or not math.isfinite(value):
        return "-"
    for limit, suffix in ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.0f}"


def format_amount(value: float | None, unit: Unit) -> str:
    """Format an amount of compute: 7.3 TFLOPs, 4 min 10 s, 60k images."""
    if unit == "device_seconds":
        return duration(value)
    number = count(value)
    if unit == "images" or value is None:
        return f"{number} images" if unit == "images" else number
    prefix = number.lstrip("-0123456789.e+")
    return f"{number.removesuffix(prefix)} {prefix}FLOPs"


def format_weights(start: Mapping[str, Any]) -> str:
    """The weights that a training started from, and whether their own cost is counted."""
    cost = start.get("base_flops")
    known = "is not known" if cost is None else f"of {format_amount(cost, 'flops')} is counted in its compute"
    return f"the weights of {start['base']}, whose own cost {known}"


def size(amount: float | None) -> str:
    """Format bytes in KiB, MiB or GiB."""
    if amount is None:
        return "-"
    mebibytes = amount / 2**20
    if mebibytes < 1:
        return f"{amount / 2**10:.0f} KiB"
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1000 else f"{mebibytes:.{1 if mebibytes < 10 else 0}f} MiB"


def duration(seconds: float | None) -> str:
    """Format seconds: 12 ms, 8.2 s, 4 min 10 s or 3 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if 0 < seconds < 0.095:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_named(name: str, value: float | None) -> str:
    """Format a score or a cost in the unit that its name implies: operations, seconds, bytes, images."""
    if name.endswith("flops"):
        return format_amount(value, "flops")
    if name.endswith("seconds"):
        return duration(value)
    if name.endswith("bytes"):
        return size(value)
    return count(value) if name in ("images", "params") else score(value)


def _number(value: Any) -> str:
    """Format a setting's value, floats with three digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}={_number(item)}" for key, item in value.items() if key != "kind")
        return f"{value.get('kind', '')}({inner})" if inner else str(value.get("kind", "{}"))
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_number, value))}]"
    return str(value)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Shortest unique ending of each dotted key; `a.kind` is shown as `a`."""
    names, short = {key: key.removesuffix(".kind").split(".") for key in keys}, dict[str, str]()
    for key, parts in names.items():
        lengths = range(1, len(parts))
        alone = (n for n in lengths if sum(other[-n:] == parts[-n:] for other in names.values()) == 1)
        short[key] = ".".join(parts[-next(alone, len(parts)) :])
    return short


def format_setting_list(params: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """The named settings as ["rate=0.1", "kind=cnn"]; missing settings are left out."""
    short = short_names(keys)
    return [f"{short[key]}={_number(params[key])}" for key in keys if key in params]


def format_settings(params: Mapping[str, Any], keys: Sequence[str]) -> str:
    """`format_setting_list` on one line."""
    return " ".join(format_setting_list(params, keys))
