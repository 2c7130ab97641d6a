"""Checks across sections of a trial; each yields the key to blame and a message."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from gensweep.config import registries
from gensweep.config.models import Settings, bind
from gensweep.config.problems import listed, unknown
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL, flatten
from gensweep.errors import ConfigError, ParameterError


def cross_checks(trial: BaseModel) -> Iterator[tuple[str, str]]:
    """All problems of a trial whose values are valid one by one."""
    checks = (_length, metric_checks, _labels, _guidance, _sampler, _parts)
    for check in checks:
        yield from check(trial)


def setting(trial: BaseModel, key: str) -> Any:
    """A value by its dotted key, or None if the trial has no such key."""
    value: Any = trial
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def key_of(settings: BaseModel, parameter: str) -> str:
    """The dotted key of a function's parameter, or its own name if there is none."""
    keys = [key for key, _ in flatten(settings.model_dump(mode="json"))]
    return next((key for key in keys if f".{key}".endswith((f".{parameter}", f".{parameter}.kind"))), parameter)


def _length(trial: BaseModel) -> Iterator[tuple[str, str]]:
    images, every, batch = (
        setting(trial, key) for key in ("training.images", "evaluation.every", "training.batch_size")
    )
    at = setting(trial, "evaluation.at")
    if at is not None and every is not None:
        yield "evaluation.at", f"{list(at)} and evaluation.every ({every}) exclude each other; remove one of them"
    if at is not None and sorted(set(at)) != list(at):
        yield "evaluation.at", f"{list(at)} is not in ascending order; write {sorted(set(at))}"
    if images is not None and every is not None and every > images:
        yield "evaluation.every", f"{every} is more than training.images ({images}), so no evaluation would take place"
    if images is not None and batch is not None and batch > images:
        yield "training.batch_size", f"{batch} is more than training.images ({images})"


def metric_checks(trial: BaseModel) -> Iterator[tuple[str, str]]:
    """All problems of the metrics of a trial, or of images from another program."""
    names = setting(trial, "evaluation.metrics") or ()
    known = registries.metrics()
    for position, name in enumerate(names):
        if name not in known:
            yield "evaluation.metrics", unknown(name, "a metric", known.kinds())
        elif name in names[:position]:
            yield "evaluation.metrics", f"{name!r} is listed twice"
        elif refusal := metric_refusal(trial, name):
            yield "evaluation.metrics", f"{name!r} {refusal}"


def metric_refusal(trial: BaseModel, name: str) -> str | None:
    """Why a known metric cannot score the images of a trial, with a remedy; None if it can."""
    metric, family = registries.metrics()[name], setting(trial, "family.kind")
    able = [kind for kind in registries.families() if hasattr(registries.families()[kind], "bits_per_dim")]
    if metric.needs == "likelihood" and family is not None and family not in able:
        return (
            f"needs a likelihood, which the family {family} does not have; "
            f"use another metric or family ({listed(able)})"
        )
    if setting(trial, "family.conditional") is False and getattr(metric, "labelled", False):
        return (
            "needs the class of each image, and this model samples without one; "
            "remove it, or set family.conditional to true"
        )
    extractor = setting(trial, "evaluation.extractor.kind")
    needed, other_name = registries.reserved_metric_names().get(name, (extractor, None))
    if extractor != needed:
        return (
            f"needs the features of {needed}, but evaluation.extractor.kind is {extractor}; "
            f"use {other_name}, or set evaluation.extractor.kind to {needed}"
        )
    against = setting(trial, "evaluation.against")
    if metric.needs == "samples" and against.endswith(".npz") and not (metric.of_moments or metric.of_training):
        content = [kind for kind in registries.metrics() if registries.metrics()[kind].of_moments]
        return (
            f"compares with real images, and {against} contains only their mean and covariance, enough for "
            f"{' and '.join(content)}; remove it, or set evaluation.against to train or test"
        )
    return None


def _labels(trial: BaseModel) -> Iterator[tuple[str, str]]:
    classes = setting(trial, "data.classes")
    # A trained model has its own labels.
    alone = setting(trial, "start.kind") == "scratch"
    if alone and setting(trial, "family.conditional") and classes is not None and len(classes) < 2:
        yield (
            "family.conditional",
            f"true needs two classes or more, but data.classes names {len(classes)}; set it to false",
        )


def _guidance(trial: BaseModel) -> Iterator[tuple[str, str]]:
    interval = setting(trial, "family.guidance_interval")
    if interval is not None and not 0 <= interval[0] < interval[1]:
        low, high = interval
        yield (
            "family.guidance_interval",
            f"[{low:g}, {high:g}] must be two noise levels, 0 <= low < high"
            + (f"; write [{high:g}, {low:g}]" if 0 <= high < low else ", such as [0.3, 5]"),
        )
    values = flatten(trial.model_dump(mode="json"))
    scales = {key: scale for key, scale in values if key.endswith("guidance") and scale != 1}
    if setting(trial, "family.conditional") is False:
        without = "needs labels, which this trial lacks (family.conditional is false); leave it"
        for key, scale in scales.items():
            yield key, f"{scale:g} {without} at 1"
        if interval is not None:
            yield "family.guidance_interval", f"[{interval[0]:g}, {interval[1]:g}] {without} out"
    elif setting(trial, "family.label_dropout") == 0:
        for key, scale in scales.items():
            yield (
                key,
                f"{scale:g} needs family.label_dropout above 0, so that the network sees images without labels",
            )


def _sampler(trial: BaseModel) -> Iterator[tuple[str, str]]:
    steps = setting(trial, "sampler.steps")
    for key in [f"{name}.timesteps" for name in type(trial).model_fields if name not in SECTIONS_OF_EVERY_TRIAL]:
        if steps is not None and (most := setting(trial, key)) is not None and steps > most:
            yield "sampler.steps", f"{steps} is more than {key} ({most})"
    low, high = setting(trial, "sampler.churn_min"), setting(trial, "sampler.churn_max")
    if low is not None and high is not None and low > high:
        yield "sampler.churn_min", f"{low:g} is more than sampler.churn_max ({high:g}), so no level would be churned"


def _parts(trial: BaseModel) -> Iterator[tuple[str, str]]:
    """Problems that the family's parts report, such as a wrong image size, when built without memory."""
    classes = setting(trial, "data.classes")
    number = (10 if classes is None else max(len(classes), 2)) if setting(trial, "family.conditional") else 0
    for section in type(trial).model_fields:
        if section not in SECTIONS_OF_EVERY_TRIAL:
            settings = getattr(trial, section)
            for parameter, message in _refusals(settings, setting(trial, "data.size") or 32, number):
                yield (f"{section}.{key_of(settings, parameter)}" if parameter else section), message


@functools.lru_cache(maxsize=1024)
def _refusals(settings: Settings, size: int, classes: int) -> tuple[tuple[str, str], ...]:
    """The ConfigErrors of one part, each with its parameter if known; skips parts that need real data."""
    import torch

    function = bind(settings)
    known = {"channels": 3, "size": size, "classes": classes, "latent": 8}
    needed = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
    ]
    if not set(needed) <= set(known):
        return ()
    try:
        # On "meta" tensors have a shape and no memory; tables of numbers are small.
        with torch.device("meta" if needed else "cpu"):
            function(*(known[name] for name in needed))
    except ParameterError as error:
        return ((error.parameter, error.message),)
    except ConfigError as error:
        return tuple(("", problem) for problem in error.problems)
    return ()
