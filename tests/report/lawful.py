"""Sweeps in folders whose scores follow a known law, with configurations that could be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from logged import LoggedSweep
from made_up import IDENTITY
from truths.trainings import MadeUpSweep

from gensweep.config.sweep_checks import checked_sweep
from gensweep.results import Cost

#: FLOPs of a second on the machine that these were trained on.
SPEED = 5e10

FAMILIES: dict[str, dict[str, Any]] = {
    "diffusion": {
        "network": {"kind": "unet", "multipliers": [1, 2], "blocks": 1, "attention": []},
        "space": {
            "optimizer.learning_rate": {"float": [1e-4, 1e-2], "log": True},
            "diffusion.timesteps": {"int": [100, 1000], "log": True},
        },
    },
    "gan": {
        "network": {"kind": "dcgan"},
        "space": {"gan.generator_learning_rate": {"float": [1e-4, 1e-2], "log": True}},
    },
}


def write_lawful_sweep(
    folder: Path, name: str, made: MadeUpSweep, *, family: str = "diffusion", seed: int = 0, mode: str = "min"
) -> None:
    """Play a made-up sweep into its log."""
    rng = np.random.default_rng(seed)
    trainings, _ = made.draw(rng, name)
    sort = FAMILIES[family]
    settings = {
        "name": name,
        "objective": {"metric": "fd", "mode": "min"},
        "constraints": [{"metric": "params", "max": 1e9}],
        "base": {
            "data": {"kind": "digits", "size": 16},
            "family": {"kind": family},
            "network": sort["network"],
            "training": {"images": 100_000, "batch_size": 64},
            "evaluation": {"every": 10_000, "samples": 300},
        },
        "space": {"network.width": {"choice": list(made.widths)}, **sort["space"]},
        "search": {"trials": len(trainings), "scheduler": {"kind": "asha", "grace": 10_000}},
    }
    config = checked_sweep(settings)
    sweep = LoggedSweep(folder / "sweeps", name, mode=mode, trials=len(trainings), settings=config.as_dict())
    for index, training in enumerate(trainings):
        trial = f"t{index:04d}"
        params = {"network.width": training.width} | {
            key: _drawn(key, node, rng) for key, node in sort["space"].items()
        }
        sweep.start(trial, params, config.trial(params).as_dict())
        for point in training.curve.points:
            images = round(training.images(point.spent))
            seconds = point.spent / SPEED
            cost = Cost(
                images=images, flops=point.spent, device_seconds=seconds, train_seconds=seconds, params=1_000_000
            )
            sweep.evaluate(trial, images, point.order, identity=IDENTITY, mode=mode, cost=cost)
        sweep.end(trial, "pruned" if training.curve.stopped_early else "finished")
    sweep.close()


def _drawn(key: str, node: dict[str, Any], rng: np.random.Generator) -> float:
    low, high = node.get("float") or node["int"]
    value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return round(value) if "int" in node else value
