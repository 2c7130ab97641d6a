"""The length of trainings that fits the time until a deadline, at the measured speed of this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from gensweep.config import SweepConfig, checked_sweep
from gensweep.config.objectives import SECONDS_PER_HOUR
from gensweep.errors import ConfigError
from gensweep.results import MAX_IMAGES
from gensweep.run.planning import Corner, allotment_of, timed_corners
from gensweep.sweep.state import END_SECONDS
from gensweep.training.device import default_device

#: Seconds of a sweep before its first step: Ray starts, workers import PyTorch, real images get their features.
START_SECONDS = 30.0
#: Trainings, one after the other, that must fit, unless the file asks for fewer.
MOST_ROUNDS = 5
#: Share of the time to plan for a single training, as other programs share the machine; and its fewest batches.
PLANNED_SHARE, FEWEST_BATCHES = 0.85, 50


def fit_sweep(sweep: SweepConfig, seconds: float, *, trials: int | None = None) -> SweepConfig:
    """The sweep with all trials that the time allows, or these `trials`; trainings are shorter if few would fit.

    Raises ConfigError if the time is too short.
    """
    whole, free = sweep.as_dict(), seconds - START_SECONDS - END_SECONDS
    at_once, search = allotment_of(sweep).concurrent, whole["search"]
    share = _share(_timed(sweep), sweep, free, min(MOST_ROUNDS, math.ceil(sweep.search.most_trials / at_once)))
    if share < 1:
        images = max(trial.flat()["training.images"] for trial in sweep.corners)
        unit, amount = ("images", images) if sweep.budget is None else (sweep.budget.unit, sweep.budget.amount)
        whole["budget"] = {unit: math.ceil(share * amount) if unit == "images" else share * amount}
        if (grace := search["scheduler"].get("grace")) is not None:
            search["scheduler"]["grace"] = share * grace
    if trials is None and search["budget"] is None and sweep.space and search["sampler"]["kind"] != "grid":
        devices = at_once * sweep.resources.worker_counts[0]
        search |= {"trials": None, "budget": {"device_hours": free * devices / SECONDS_PER_HOUR}}
    return checked_sweep(whole)


def fit_training(sweep: SweepConfig, seconds: float) -> SweepConfig:
    """The sweep of one trial, whose length fits the time.  Raises ConfigError if the time is too short."""
    whole, free = sweep.as_dict(), PLANNED_SHARE * (seconds - START_SECONDS - END_SECONDS)

    def lasting(seconds: float) -> SweepConfig:
        device_seconds = max(1.0, seconds) * sweep.resources.worker_counts[0]
        training: dict[str, Any] = {"images": MAX_IMAGES, "device_seconds": device_seconds}
        return checked_sweep(whole | {"base": whole["base"] | {"training": whole["base"]["training"] | training}})

    timed = _timed(tried := lasting(free))
    _share(timed, tried, free, 1)
    return lasting(free - sum(corner.drawing_seconds for corner in timed))


def _timed(sweep: SweepConfig) -> Sequence[Corner]:
    """The corners with measured times; none if trials train on GPUs that this machine lacks."""
    if sweep.resources.gpus_per_worker and default_device().type != "cuda":
        return []
    return [corner for corner in timed_corners(sweep) if corner.training_seconds]


def _share(corners: Sequence[Corner], sweep: SweepConfig, seconds: float, rounds: int) -> float:
    """The largest share of a mean training, at most 1, that fits `rounds` times one after the other."""
    if not corners:
        return 1.0
    training = fmean(corner.training_seconds or 0.0 for corner in corners)
    drawing = fmean(corner.drawing_seconds for corner in corners)
    batch = max(trial.flat()["training.batch_size"] for trial in sweep.corners)
    fewest = min(1.0, FEWEST_BATCHES * batch / min(corner.images or MAX_IMAGES for corner in corners))
    if seconds < (least := rounds * (fewest * training + drawing)):
        minutes = math.ceil((least + START_SECONDS + END_SECONDS) / 60)
        raise ConfigError(
            f"the time is too short: this machine needs {minutes}min, for {rounds} short trainings in a row"
        )
    return min(1.0, (seconds / rounds - drawing) / training)
