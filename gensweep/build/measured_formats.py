"""Networks of trials are timed in each precision and memory format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gensweep.build.footprint import images_at_once
from gensweep.build.parts import build_family, load_images
from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.machine import usable_cores
from gensweep.training.device import default_device, give_back_freed_memory, keep_freed_memory
from gensweep.training.fastest_format import FormatTimes, time_formats

#: As many images are enough to draw the batches that are timed from.
FEW_IMAGES = 64


def few_images(trial: TrialConfig) -> Images:
    """The first images of a trial's data set."""
    whole = load_images(trial)
    return replace(whole, pixels=whole.pixels[:FEW_IMAGES].clone(), labels=whole.labels[:FEW_IMAGES].clone())


def measure_formats(
    trials: Sequence[TrialConfig], images: Sequence[Images], threads: int, gpu: bool
) -> list[FormatTimes]:
    """The times of each trial's networks in this process, with so many threads, on its GPU or its CPU."""
    before, device = torch.get_num_threads(), default_device() if gpu else torch.device("cpu")
    torch.set_num_threads(min(threads, usable_cores()))  # more than there are cores wait for each other
    keep_freed_memory()  # as a trial does, or large networks seem slower in formats that take more of it
    try:
        return [
            time_formats(build_family(trial, few.shape, few.classes), few, device, images_at_once(trial, workers=1))
            for trial, few in zip(trials, images, strict=True)
        ]
    finally:
        torch.set_num_threads(before)
        give_back_freed_memory()
