"""From a SweepConfig to a Plan: the functions and plain values that the driver runs."""

from __future__ import annotations

from gensweep.build.parts import every_of
from gensweep.build.trial_run import run_job
from gensweep.config import SweepConfig, TrialConfig, checked_sweep, registries
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.plan import Plan
from gensweep.sweep.resources import Request
from gensweep.sweep.space import SearchSpace

__all__ = ["plan_sweep", "recall_sweep", "single_trial"]


def plan_sweep(sweep: SweepConfig) -> Plan:
    """Everything that running this sweep takes; sweep.json will hold the configuration, so that it can go on."""
    space = SearchSpace.of(sweep)
    search, resources = sweep.search, sweep.resources
    sampler = search.sampler.model_dump(exclude={"kind"})
    if "startup_trials" in sampler:
        sampler["n_startup_trials"] = sampler.pop("startup_trials")
    scheduler = search.scheduler.model_dump(exclude={"kind"}, exclude_none=True)
    if search.scheduler.kind == "asha" and "grace" not in scheduler:
        scheduler["grace"] = min(every_of(sweep.trial(corner)) for corner in space.corners())
    return Plan(
        name=sweep.name,
        metric=sweep.objective.metric,
        mode=sweep.objective.mode,
        trials=search.trials,
        budget=max(sweep.trial(corner).flat()["training.images"] for corner in space.corners()),
        job=run_job,
        sample=space.suggest,
        configure=lambda overrides: sweep.trial(overrides).as_dict(),
        settings={"sweep": sweep.as_dict()},
        keep_best=sweep.keep_best,
        seed=search.seed,
        sampler=search.sampler.kind,
        sampler_settings=sampler,
        scheduler=search.scheduler.kind,
        scheduler_settings=scheduler,
        patience=search.patience,
        request=Request(
            workers=resources.workers,
            cpus_per_worker=resources.cpus_per_worker,
            gpus_per_worker=resources.gpus_per_worker,
            concurrent=resources.concurrent,
        ),
    )


def recall_sweep(folder: SweepFolder) -> SweepConfig:
    """The configuration with which a sweep was started.  Raises GensweepError if its folder cannot be read."""
    return checked_sweep(folder.settings["sweep"])


def single_trial(
    name: str, trial: TrialConfig, *, workers: int = 1, cpus_per_worker: float = 1, gpus_per_worker: float = 0
) -> SweepConfig:
    """A sweep of one trial, judged by the first of its metrics."""
    metric = trial.flat()["evaluation.metrics"][0]
    return checked_sweep(
        {
            "name": name,
            "objective": {"metric": metric, "mode": registries.metrics()[metric].mode},
            "base": trial.as_dict(),
            "search": {"trials": 1, "sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}},
            "resources": {
                "workers": workers,
                "cpus_per_worker": cpus_per_worker,
                "gpus_per_worker": gpus_per_worker,
            },
            "keep_best": 1,
        }
    )
