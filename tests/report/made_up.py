"""Made-up sweeps in the real format, for tests and for looking at the page."""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged import LoggedSweep
from PIL import Image

from gensweep.results import Cost, Identity
from gensweep.sweep.provenance import git_state, provenance_tags

IDENTITY = Identity(
    "fd",
    "efficientnet_lite0/1280@160px/bfloat16/sha256:0123456789ab",
    2000,
    "digits train 32px#sha256:ab12cd34",
    "floor(127.5 x + 128)",
)
BUDGET = 60_000

Make = Callable[[random.Random], tuple[dict[str, Any], dict[str, Any], float, float]]
"""A trial of one family: searched parameters, configuration, score at the end, images per second."""


def diffusion(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any], float, float]:
    steps, width = int(50 * 20 ** rng.random()), rng.choice([32, 64, 96, 128])
    schedule, rate = rng.choice(["linear", "cosine", "sigmoid"]), 10 ** rng.uniform(-4, -3)
    params = {
        "diffusion.timesteps": steps,
        "network.width": width,
        "diffusion.schedule.kind": schedule,
        "optimizer.learning_rate": rate,
    }
    if schedule == "linear":
        params["diffusion.schedule.beta_end"] = rng.uniform(0.01, 0.04)
    tree = {
        "seed": 0,
        "data": {"kind": "digits"},
        "family": {"kind": "diffusion", "conditional": True},
        "network": {"kind": "unet", "width": width, "multipliers": [1, 2, 2]},
        "diffusion": {"timesteps": steps, "schedule": {"kind": schedule}},
        "optimizer": {"learning_rate": rate},
        "training": {"images": BUDGET, "batch_size": 128},
        "evaluation": {"samples": 2000},
    }
    return params, tree, 34 + 600 / width + (8 if schedule == "linear" else 0) + 2000 / steps, 900 * 32 / width


def gan(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any], float, float]:
    width, rate = rng.choice([32, 64]), 10 ** rng.uniform(-4, -3)
    loss = rng.choice(["non_saturating", "hinge"])
    params = {"network.width": width, "gan.generator_learning_rate": rate, "gan.loss.kind": loss}
    tree = {
        "seed": 0,
        "family": {"kind": "gan"},
        "network": {"kind": "dcgan", "width": width},
        "gan": {"generator_learning_rate": rate, "loss": {"kind": loss}},
    }
    return params, tree, 52 + 300 / width + 20 * abs(math.log10(rate) + 3.6), 4200 * 32 / width


def grid(file: Path, noise: float, seed: int, side: int = 8) -> None:
    """Write a grid of noisy digits."""
    from sklearn.datasets import load_digits

    digits, rng, size = load_digits().images, np.random.default_rng(seed), 32
    page = np.full((side * (size + 2) + 2,) * 2, 255, np.uint8)
    for index in range(side * side):
        digit = Image.fromarray((digits[rng.integers(len(digits))] / 16 * 255).astype(np.uint8))
        pixels = np.asarray(digit.resize((size, size), Image.Resampling.BICUBIC), dtype=float)
        top, left = (2 + place * (size + 2) for place in divmod(index, side))
        page[top : top + size, left : left + size] = np.clip(pixels + rng.normal(0, noise, pixels.shape), 0, 255)
    Image.fromarray(page).save(file)


def write_sweep(
    folder: Path,
    name: str,
    make: Make,
    trials: int,
    *,
    seed: int = 0,
    identity: Identity = IDENTITY,
    failing: int | None = None,
    error: str = "NonFiniteLoss: loss/<generator> is nan at 8,192 images; log: worker-0.log",
    rungs: int = 8,
    keep: int = 1,
    pictures: bool = True,
    signals: Mapping[str, float] = {"diversity": 0.7},
) -> Path:
    """Play a sweep into its log; every third trial or so is pruned.  Returns its folder."""
    rng = random.Random(seed)
    config = {"name": name, "keep_best": keep, "search": {"seed": seed}, "resources": {"workers": 1}}
    command = f"gensweep tune search_spaces/{name}.yaml"
    tags = provenance_tags(git_state(), config) | {"gensweep.command": command}
    sweep = LoggedSweep(
        folder / "sweeps", name, metric=identity.metric, trials=trials, keep_best=keep, tags=tags, settings=config
    )
    for index in range(trials):
        trial = f"t{index:04d}"
        params, tree, final, speed = make(rng)
        sweep.start(trial, params, tree)
        if index == failing:
            sweep.progress(trial, 7500, loss=0.5)
            sweep.end(trial, "failed", error)
            continue
        last = rng.choice([1, max(1, rungs // 2)]) if index > 2 and rng.random() < 0.35 else rungs
        _play(sweep, trial, rng, final, speed, identity, rungs, last, pictures, signals)
    sweep.close()
    return sweep.folder.path


def _play(
    sweep: LoggedSweep,
    trial: str,
    rng: random.Random,
    final: float,
    speed: float,
    identity: Identity,
    rungs: int,
    last: int,
    pictures: bool,
    signals: Mapping[str, float],
) -> None:
    for rung in range(1, last + 1):
        images = BUDGET * rung // rungs
        score = final + 220 * math.exp(-images / 14_000) + rng.gauss(0, 2.5)
        folder = sweep.folder.path / "checkpoints" / f"{trial}-{images}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.json").write_text("{}")
        if pictures:
            grid(folder / "samples.png", max(4.0, score / 2.2), 7)
            grid(folder / "real.png", 0, 7)
            if "authpct/memorised" in signals:
                grid(folder / "suspects.png", 0, 7)
        seconds = images / speed
        seconds_of = {"train_seconds": seconds, "device_seconds": seconds, "sample_seconds": 6000 / speed}
        cost = Cost(images=images, **seconds_of, params=1_500_000)
        numbers = {"loss": 0.1 + 1000 / images, "images_per_second": speed}
        sweep.evaluate(trial, images, score, folder, identity=identity, cost=cost, **(numbers | dict(signals)))
    sweep.end(trial, "finished" if last == rungs else "pruned")


@contextlib.contextmanager
def project(folder: Path) -> Iterator[Path]:
    """Work in a folder whose MLflow server is away; everything as before afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        patch.setenv("GENSWEEP_CACHE", str(folder / "cache"))
        yield folder


@functools.cache
def empty_store() -> Path:
    """A new MLflow database takes seconds of migrations, so it is made once and copied."""
    from gensweep.tracking.store import client

    folder = Path(tempfile.mkdtemp(prefix="gensweep-made-up-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'empty.db'}")
        client().search_experiments(max_results=1)
    return folder / "empty.db"


@contextlib.contextmanager
def mlflow_store(folder: Path) -> Iterator[Path]:
    """The same with a store of its own in the folder."""
    with project(folder), pytest.MonkeyPatch.context() as patch:
        shutil.copyfile(empty_store(), folder / "mlflow.db")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield folder
