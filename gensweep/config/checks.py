"""Checks that need several sections of a trial at once; each yields the key to blame and a message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gensweep.config import registries
from gensweep.config.problems import unknown

if TYPE_CHECKING:
    from gensweep.config.trial import TrialConfig

__all__ = ["cross_checks"]


def cross_checks(trial: TrialConfig) -> Iterator[tuple[str, str]]:
    """Everything that is wrong with a trial although each of its values is right."""
    yield from _budget(trial)
    yield from _metrics(trial)
    yield from _labels(trial)
    yield from _image_size(trial)


def _get(trial: TrialConfig, key: str) -> Any:
    """A value by its dotted key, or None where this kind of trial has no such key."""
    value: Any = trial
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def _budget(trial: TrialConfig) -> Iterator[tuple[str, str]]:
    images, every, batch = (_get(trial, key) for key in ("training.images", "evaluation.every", "training.batch_size"))
    if images is not None and every is not None and every > images:
        yield "evaluation.every", f"{every} is more than training.images ({images}), so no evaluation would take place"
    if images is not None and batch is not None and batch > images:
        yield "training.batch_size", f"{batch} is more than training.images ({images})"


def _metrics(trial: TrialConfig) -> Iterator[tuple[str, str]]:
    names = _get(trial, "evaluation.metrics") or ()
    known = registries.metrics().kinds()
    for position, name in enumerate(names):
        if name not in known:
            yield "evaluation.metrics", unknown(name, "a metric", known)
        elif name in names[:position]:
            yield "evaluation.metrics", f"{name!r} is named twice"


def _labels(trial: TrialConfig) -> Iterator[tuple[str, str]]:
    classes = _get(trial, "data.classes")
    if _get(trial, "family.conditional") and classes is not None and len(classes) < 2:
        yield (
            "family.conditional",
            f"true needs two classes or more, but data.classes names {len(classes)}; set it to false",
        )


def _image_size(trial: TrialConfig) -> Iterator[tuple[str, str]]:
    size = _get(trial, "data.size")
    if size is not None and _get(trial, "network.kind") == "dcgan" and size & (size - 1):
        yield "data.size", f"{size} is not a power of two, which dcgan needs (8, 16, 32, 64, 128 or 256)"
