"""A first search space for a folder of pictures, chosen by measured facts: `gensweep init --data`."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml

from gensweep.build.costs import footprint
from gensweep.build.parts import build_family
from gensweep.config import SweepConfig, TrialConfig, load_sweep
from gensweep.data.folder_survey import FolderSurvey, survey_folder
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.machine import usable_cores, usable_memory
from gensweep.run import allotment, planning
from gensweep.run.deadline import START_SECONDS
from gensweep.training.cost import sample_flops, training_flops
from gensweep.training.device import default_device
from gensweep.verdict.amounts import Amount

TERA = 1e12
#: The file, and the branches of its families.
TEMPLATE, GAN, FLOW, VAE = (Path(__file__).parent / "first_space.yaml").read_text(encoding="utf-8").split("---\n")
#: Share of the time to plan: other programs share the machine, and timings of a few steps vary.
PLANNED_SHARE = 0.7
#: Trainings of this compute rank families as larger ones do; only then more trials, up to MOST_TRIALS.
USEFUL_FLOPS, MOST_TRIALS = 8 * TERA, 16
#: Share of a training's time for sampling, of a worker's memory for a step, and fewest batches of a training.
SAMPLING_SHARE, MEMORY_SHARE, FEWEST_BATCHES = 0.25, 0.8, 50
#: Evaluations of a training: two on the way, and the last; images for timings.
EVALUATIONS, FEW_IMAGES = 3, 64
#: By the least FLOPs of a training: side of the images, widths, half-life of averages.  Not measured beyond 2 PFLOP.
SIDES = {0: 32, 240 * TERA: 64, 4e15: 128}
FLOW_WIDTHS = {0: [8, 16], 16 * TERA: [16, 24], 64 * TERA: [16, 24, 32], 2e15: [32, 64], 2e16: [64, 96]}
GAN_WIDTHS = {0: [32], 128 * TERA: [32, 48], 2e15: [64, 96]}
HALF_LIVES = {0: 2000, 8 * TERA: 4000, 500 * TERA: 16000}
#: By the side of the images: multipliers of the U-Net's width.
LEVELS = {16: [1, 2], 32: [1, 2, 2], 64: [1, 2, 2, 2], 128: [1, 1, 2, 2, 2]}
FEW = "# Under 100: better add them to a trained model, gensweep finetune RUN --data FOLDER (experiments/few-images)\n"


@dataclass(frozen=True)
class Machine:
    """Trials that this machine trains at once, and the CPU cores and bytes of memory of each.

    `room` are the bytes for a training step, which are those of the GPU if there is one.
    """

    gpus: int
    cores: int
    cpus: int
    at_once: int
    memory: float
    room: float


@dataclass(frozen=True)
class Plan:
    """Sizes of a sweep: FLOPs of a training, trials, images of a batch and of a score; a trial has `rate` FLOP/s."""

    flops: float
    trials: int
    batch: int
    samples: int
    rate: float = 0.0


def space_name(path: str) -> str:
    """The name of a sweep of the pictures in a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(path).resolve().name).strip("-")[:40].lower() or "pictures"


def first_space(path: str, seconds: float, *, cheap_images: bool, gpu_memory: float | None) -> str:
    """The commented YAML of a sweep of the pictures in a folder that takes at most `seconds`.

    Raises ConfigError for an unusable folder, a time that is too short, and the memory of a GPU that does not exist.
    """
    found, machine = survey_folder(path), _machine(gpu_memory)
    torch.set_num_threads(machine.cpus)
    text = partial(_text, found, machine, path=path, seconds=seconds, cheap_images=cheap_images)
    pictures = sum(found.classes.values())
    largest_batch, samples = (128, 5000) if machine.gpus else (64, 500)
    batch = max(8, min(largest_batch, 2 ** (pictures.bit_length() - 2)))
    plan = Plan(USEFUL_FLOPS, trials=6, batch=batch, samples=samples)
    for _ in range(2):  # the second time with the networks that the speed allows
        sweep = load_sweep(yaml.safe_load(text(plan)))
        plan = _timed(plan, sweep, tuple(found.classes), machine, seconds)
    return text(plan)


def _machine(gpu_memory: float | None) -> Machine:
    """The machine here: a trial gets a GPU, or else a quarter of the cores."""
    gpus, cores = len(allotment.visible_gpus()), usable_cores()
    if gpu_memory and not gpus:
        raise ConfigError("--gpu-memory: this machine has no GPU that PyTorch can use; omit it to plan for the CPU")
    cpus = max(1, min(4, cores // gpus) if gpus else cores // 4)
    at_once = gpus or cores // cpus
    memory = usable_memory() / at_once
    room = gpu_memory or (torch.cuda.get_device_properties(0).total_memory if gpus else memory)
    return Machine(gpus, cores, cpus, at_once, memory, room)


def _timed(plan: Plan, sweep: SweepConfig, classes: tuple[str, ...], machine: Machine, seconds: float) -> Plan:
    """The plan that fits the time, at the measured speed of each family's slowest network.

    Raises ConfigError if there is too little time.
    """
    slowest, most = defaultdict[str, tuple[float, ...]](lambda: (0.0, 0.0)), 0.0
    images, batch = _made_up(sweep.corners[0].flat(), classes), plan.batch
    for trial in {_network(trial): trial for trial in sweep.corners}.values():
        family = build_family(trial, images.shape, images.classes)
        flops = training_flops(family, Loader(images, seed=0))
        pace, most = planning.time_trial(trial, images, 1) / flops, max(most, flops)
        kind, costs = trial.kind("family"), (pace, EVALUATIONS * pace * sample_flops(family))
        slowest[kind] = tuple(map(max, slowest[kind], costs))
        memory = footprint(trial, images, default_device())
        batch = max(1, min(batch, memory.images_in(int(MEMORY_SHARE * machine.room))))
    paces, drawings = zip(*slowest.values(), strict=True)
    rate, drawing = 1 / fmean(paces), fmean(drawings)
    planned = (PLANNED_SHARE * seconds - START_SECONDS) * machine.at_once
    trials = round(min(MOST_TRIALS, max(len(sweep.search.enqueue), planned * rate / USEFUL_FLOPS)))
    samples = int(max(50, min(plan.samples, SAMPLING_SHARE * planned / trials / max(drawings))))
    fewest = FEWEST_BATCHES * batch * most
    if (flops := (planned / trials - samples * drawing) * rate) < fewest:
        training = fewest / rate + samples * drawing
        least = (training * trials / machine.at_once + START_SECONDS) / PLANNED_SHARE / 60
        raise ConfigError(f"--time: {trials} trials on this machine need at least {math.ceil(least)}min")
    return Plan(flops, trials, batch, samples, rate)


def _text(found: FolderSurvey, machine: Machine, plan: Plan, *, path: str, seconds: float, cheap_images: bool) -> str:
    """The file with the values of a plan."""
    side = min(_at(SIDES, plan.flops), max(each for each in LEVELS if each <= max(16, found.short_side)))
    families = [GAN, *([] if cheap_images else [FLOW]), *([VAE] if cheap_images or plan.flops < USEFUL_FLOPS else [])]
    widths, labels, pictures = _at(FLOW_WIDTHS, plan.flops), len(found.classes) > 1, sum(found.classes.values())
    # Decoding may take a twentieth of the time, and the images an eighth of a trial's memory.
    limit = max(200, int(min(seconds / 20 / found.seconds, machine.memory / 8 / (3 * side**2))))
    more = f"    limit: {limit}   # to decode more takes too much time or memory\n" if limit < pictures else ""
    if found.unreadable > found.opened / 100:
        more += "    allow_skipped: true   # more than 1 % of the pictures cannot be read\n"
    values = found._asdict() | {
        "name": space_name(path),
        "path": json.dumps(path, ensure_ascii=False),
        "pictures": f"{pictures:,}",
        "few": FEW if pictures < 100 else "",
        "classes": len(found.classes),
        "smallest": min(found.classes.values()),
        "largest": max(found.classes.values()),
        "channels": 1 if found.grey else 3,
        "conditional": str(labels).lower(),
        "labels": ", labels: batch_norm" if labels else "",
        "side": side,
        "more_data": more,
        "time": Amount("device_seconds", seconds),
        "machine": f"{machine.gpus} GPU" if machine.gpus else f"{machine.cores} cores",
        "cpus": machine.cpus,
        "gpu": int(machine.gpus > 0),
        "rate": plan.rate / TERA,
        "flops": plan.flops,
        "trials": plan.trials,
        "batch": plan.batch,
        "samples": plan.samples,
        "half_life": _at(HALF_LIVES, plan.flops),
        "levels": LEVELS[side],
        "attention": [16] if side > 16 else [],
        "flow_widths": widths,
        "flow_rates": "[1.0e-3, 4.0e-3]" if widths[0] < 64 else "[1.0e-4, 1.0e-3]",
        "gan_widths": _at(GAN_WIDTHS, plan.flops),
        "scheduler": "median" if plan.trials >= 8 else "fifo",
    }
    branches = [each % values for each in families]
    kinds = [yaml.safe_load(each)[0]["kind"] for each in branches]
    queue = ", ".join(f"{{family.kind: {kind}}}" for kind in 2 * kinds)
    return TEMPLATE % (values | {"queue": queue, "families": "".join(branches).rstrip()})


def _made_up(settings: Mapping[str, Any], classes: tuple[str, ...]) -> Images:
    """Noise in place of the pictures, for timings and counts without reading a large folder."""
    shape = settings["data.channels"], settings["data.size"], settings["data.size"]
    pixels = torch.randint(256, (FEW_IMAGES, *shape), dtype=torch.uint8)
    return Images(pixels, torch.arange(FEW_IMAGES) % len(classes), classes, "noise", "", flip=False)


def _network(trial: TrialConfig) -> str:
    """The settings of a trial that determine the size of its networks."""
    return str([value for key, value in trial.flat().items() if key.startswith(("family", "network", "vae.latent"))])


def _at(table: dict[float, Any], flops: float) -> Any:
    """The value of the largest key that is reached."""
    return table[max((least for least in table if least <= flops), default=0)]
