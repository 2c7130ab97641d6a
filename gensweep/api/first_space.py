"""A first search space for a folder of pictures, chosen by measured facts: `gensweep init --data`."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml

from gensweep.build.costs import footprint
from gensweep.build.parts import build_family
from gensweep.config import TrialConfig, load_sweep
from gensweep.data.folder_survey import survey_folder
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.machine import usable_cores, usable_memory
from gensweep.run import allotment, planning
from gensweep.training.cost import sample_flops, training_flops
from gensweep.training.device import default_device
from gensweep.verdict.amounts import Amount

TERA = 1e12
#: The file and the branches of its families.
TEMPLATE, *BRANCHES = (Path(__file__).parent / "first_space.yaml").read_text(encoding="utf-8").split("---\n")
#: Share of the time to plan: other programs share the machine, and timings of a few steps vary.
PLANNED_SHARE = 0.7
#: Seconds of a sweep before its first step: Ray starts, workers import PyTorch, real images get their features.
START_SECONDS = 30.0
#: Share of a training's time for sampling, of a worker's memory for a step, and fewest batches of a training.
SAMPLING_SHARE, MEMORY_SHARE, FEWEST_BATCHES = 0.25, 0.8, 50
#: Evaluations of a training: two on the way, and the last; images for timings.
EVALUATIONS, FEW_IMAGES = 3, 64
#: By the least FLOPs of a training: side of the images, widths, half-life of averages.  Not measured beyond 2 PFLOP.
SIDES = {0: 32, 240 * TERA: 64, 4e15: 128}
FLOW_WIDTHS = {0: [8, 16], 16 * TERA: [16, 24], 64 * TERA: [16, 24, 32], 2e15: [32, 64], 2e16: [64, 96]}
GAN_WIDTHS = {0: [32], 128 * TERA: [32, 48], 2e15: [64, 96]}
HALF_LIVES = {0: 2000, 8 * TERA: 4000, 500 * TERA: 16000}
LEVELS = {16: [1, 2], 32: [1, 2, 2], 64: [1, 2, 2, 2], 128: [1, 1, 2, 2, 2]}
FEW = "# Under 100: better add them to a trained model, gensweep finetune RUN --data FOLDER (experiments/few-images)\n"


def first_space(path: str, seconds: float, *, cheap_images: bool, gpu_memory: float | None) -> tuple[str, str]:
    """The name and the commented YAML of a sweep of the pictures in a folder that takes at most `seconds`.

    Raises ConfigError for an unusable folder, a time that is too short, and the memory of a GPU that does not exist.
    """
    found, gpus, cores = survey_folder(path), len(allotment.visible_gpus()), usable_cores()
    if gpu_memory and not gpus:
        raise ConfigError("--gpu-memory: this machine has no GPU that PyTorch can use; omit it to plan for the CPU")
    cpus = max(1, min(4, cores // gpus) if gpus else cores // 4)
    at_once, pictures, labels = gpus or cores // cpus, sum(found.classes.values()), len(found.classes) > 1
    memory, planned = usable_memory() / at_once, (PLANNED_SHARE * seconds - START_SECONDS) * at_once
    room = gpu_memory or (torch.cuda.get_device_properties(0).total_memory if gpus else memory)
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(path).resolve().name).strip("-")[:40].lower() or "pictures"
    batch, samples, rate = 2 ** max(3, min(7 if gpus else 6, pictures.bit_length() - 2)), 5000 if gpus else 500, 0.0

    def text(flops: float, trials: int) -> str:
        side = min(_at(SIDES, flops), max(each for each in LEVELS if each <= max(16, found.short_side)))
        widths, small = _at(FLOW_WIDTHS, flops), flops < 8 * TERA
        families = [BRANCHES[0], *BRANCHES[1 : 2 - cheap_images], *BRANCHES[2 : 2 + (small or cheap_images)]]
        # Decoding may take a twentieth of the time, and the images an eighth of a trial's memory.
        limit = max(200, int(min(seconds / 20 / found.seconds, memory / 8 / (3 * side**2))))
        more = f"    limit: {limit}   # to decode more takes too much time or memory\n" if limit < pictures else ""
        if found.unreadable > found.opened / 100:
            more += "    allow_skipped: true   # more than 1 % of the pictures cannot be read\n"
        values = found._asdict() | {
            "name": name, "path": json.dumps(path, ensure_ascii=False), "time": Amount("device_seconds", seconds),
            "machine": f"{gpus} GPU" if gpus else f"{cores} cores", "rate": rate / TERA, "pictures": f"{pictures:,}",
            "few": FEW if pictures < 100 else "", "channels": 1 if found.grey else 3, "more_data": more, "side": side,
            "classes": len(found.classes), "smallest": min(found.classes.values()), "cpus": cpus, "gpu": int(gpus > 0),
            "largest": max(found.classes.values()), "conditional": str(labels).lower(), "flops": flops,
            "labels": ", labels: batch_norm" if labels else "", "levels": LEVELS[side], "trials": trials,
            "attention": [16] if side > 16 else [], "flow_widths": widths, "gan_widths": _at(GAN_WIDTHS, flops),
            "flow_rates": "[1.0e-3, 4.0e-3]" if widths[0] < 64 else "[1.0e-4, 1.0e-3]", "batch": batch,
            "samples": samples, "half_life": _at(HALF_LIVES, flops), "scheduler": "median" if trials >= 8 else "fifo",
        }  # fmt: skip
        kinds = [yaml.safe_load(each)[0]["kind"] for each in (branch % values for branch in families)]
        queue = ", ".join(f"{{family.kind: {kind}}}" for kind in 2 * kinds)
        return TEMPLATE % (values | {"queue": queue, "families": "".join(families).rstrip() % values})

    torch.set_num_threads(cpus)
    flops, trials = 8 * TERA, 6
    for _ in range(2):  # the second time with the networks that the speed allows
        sweep = load_sweep(yaml.safe_load(text(flops, trials)))
        slowest, most = defaultdict[str, tuple[float, ...]](lambda: (0.0, 0.0)), 0.0
        images = _made_up(sweep.corners[0].flat(), tuple(found.classes))
        for trial in {_network(trial): trial for trial in sweep.corners}.values():
            family = build_family(trial, images.shape, images.classes)
            flops = training_flops(family, Loader(images, seed=0))
            pace, most = planning.time_trial(trial, images, 1) / flops, max(most, flops)
            kind, costs = trial.kind("family"), (pace, EVALUATIONS * pace * sample_flops(family))
            slowest[kind] = tuple(map(max, slowest[kind], costs))
            batch = max(1, min(batch, footprint(trial, images, default_device()).images_in(int(MEMORY_SHARE * room))))
        paces, drawings = zip(*slowest.values(), strict=True)
        rate, drawing, fewest = 1 / fmean(paces), fmean(drawings), FEWEST_BATCHES * batch * most
        trials = round(min(16, max(len(sweep.search.enqueue), planned * rate / (8 * TERA))))
        samples = int(max(50, min(samples, SAMPLING_SHARE * planned / trials / max(drawings))))
        if (flops := (planned / trials - samples * drawing) * rate) < fewest:
            least = ((fewest / rate + samples * drawing) * trials / at_once + START_SECONDS) / PLANNED_SHARE / 60
            raise ConfigError(f"--time: {trials} trials on this machine need at least {math.ceil(least)}min")
    return name, text(flops, trials)


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
