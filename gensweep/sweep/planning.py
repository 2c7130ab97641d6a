"""What a SweepConfig asks for: the plan that the driver runs, or a preview of it without running anything."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from gensweep.build.footprint import count_parameters, images_at_once
from gensweep.build.known_costs import KnownCosts
from gensweep.build.parts import build_family, build_learner, load_images, run_job
from gensweep.build.training_length import TrainingLengths
from gensweep.config import SweepConfig, TrialConfig, checked_sweep, registries
from gensweep.config.points import point_of
from gensweep.config.sweep_config import SECONDS_PER_HOUR, Resources
from gensweep.data.images import Images
from gensweep.files import expanded
from gensweep.remote_folder import below, is_url
from gensweep.sweep.allotment import Allotment, allot, local_nodes
from gensweep.sweep.auto_formats import with_formats
from gensweep.sweep.checkpoints import CHECKPOINTS
from gensweep.sweep.cluster_task import has_cluster
from gensweep.sweep.feasibility import feasibility
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.preflight import Precheck, all_findings, check_population, extreme_trials
from gensweep.sweep.space import Parameter, SearchSpace
from gensweep.sweep.sweep_plan import SweepPlan
from gensweep.sweep.warm_start import earlier_sweeps, warm_start_words, warm_starts
from gensweep.training.device import default_device
from gensweep.training.distributed import Workers
from gensweep.training.estimate import CostEstimate, Timing, estimate_cost, time_networks
from gensweep.training.settings import EvaluationSettings, TrainingSettings

SAMPLES_SHOWN = 5  # random trials in a preview
CORNERS_TIMED = 8  # corners at which a preview times steps
TIMING_SECONDS = 0.3  # for each of the three things that are timed at a corner


def plan_sweep(sweep: SweepConfig, lengths: TrainingLengths) -> SweepPlan:
    """Everything that running this sweep takes; sweep.json will hold the configuration, so that it can go on."""
    space = SearchSpace.of(sweep)
    corners = [budgeted(sweep, corner, lengths) for corner in space.corners()]
    budget = sweep.budget
    device = default_device() if sweep.resources.gpus_per_worker else torch.device("cpu")
    costs = KnownCosts(lengths, sweep.resources.worker_counts[-1], device)
    return SweepPlan(
        name=sweep.name,
        objective=sweep.score,
        further=sweep.objective[1:],
        constraints=sweep.constraints,
        known=lambda config: costs.limited(TrialConfig.from_dict(config), sweep.constraints),
        search=sweep.search,
        unit="images" if budget is None else budget.unit,
        budget=max(corner.flat()["training.images"] for corner in corners) if budget is None else budget.amount,
        equal=budget is not None,
        job=run_job,
        sample=space.suggest,
        nodes=space.nodes,
        queue=tuple(point_of(space.nodes, settings).params for settings in sweep.search.enqueue),
        grace=sweep.search.scheduler.first_rung or min(_first_rung(sweep, each) for each in corners),
        resources=sweep.resources,
        keep_best=sweep.keep_best,
        relative_paths=tuple(dict.fromkeys(line for corner in corners for line in relative_paths(corner))),
        **_settled(sweep, lengths),
    )


def settled(plan: SweepPlan, sweep: SweepConfig, lengths: TrainingLengths) -> SweepPlan:
    """The plan of a sweep that now says what `auto` means, and is the same otherwise."""
    return replace(plan, measure=None, **_settled(sweep, lengths))


def _settled(sweep: SweepConfig, lengths: TrainingLengths) -> dict[str, Any]:
    """The parts of a plan that say what `auto` means."""
    return {
        "configure": lambda overrides: budgeted(sweep, overrides, lengths).as_dict(),
        "settings": {"sweep": sweep.as_dict()},
    }


def relative_paths(trial: TrialConfig) -> list[str]:
    """The paths of a trial that depend on the current folder, as "key: path"."""
    values = trial.flat()
    against = str(values.get("evaluation.against", ""))
    paths = {
        "data.path": values.get("data.path"),
        "evaluation.against": against if against.endswith(("/", ".npz")) else None,
        "finetune.base": values.get("finetune.base"),
    }
    return [
        f"{key}: {path}"
        for key, path in paths.items()
        if isinstance(path, str) and not is_url(path) and not expanded(path).is_absolute()
    ]


def budgeted(sweep: SweepConfig, overrides: Mapping[str, Any], lengths: TrainingLengths) -> TrialConfig:
    """A trial of the sweep, as long as its budget says.

    Raises ConfigError if it is not valid, GensweepError if its images are missing.
    """
    trial = sweep.trial(overrides)
    if sweep.budget is None or sweep.budget.flops is None:
        return trial
    return lengths.with_length(trial, sweep.budget.flops)


def _first_rung(sweep: SweepConfig, trial: TrialConfig) -> float:
    """What a trial has spent when it is evaluated for the first time, in the unit of the budget."""
    evaluation: EvaluationSettings = trial.bound("evaluation")()
    length = trial.flat()["training.images"]
    images = next(iter(evaluation.rungs(length)), length)
    return images if sweep.budget is None else sweep.budget.amount * images / length


def recall_sweep(folder: SweepFolder) -> SweepConfig:
    """The configuration with which a sweep was started.

    Raises ConfigError if there is no such sweep, GensweepError if its folder cannot be read.
    """
    folder.check_name(resume=True)
    return checked_sweep(folder.settings["sweep"])


def single_trial(
    name: str, trial: TrialConfig, workers: int, cpus_per_worker: float = 1, gpus_per_worker: float | None = None
) -> SweepConfig:
    """A sweep of one trial with its first metric as objective; a worker has a GPU by default if there is one."""
    metric = trial.flat()["evaluation.metrics"][0]
    gpus = float(default_device().type == "cuda") if gpus_per_worker is None else gpus_per_worker
    resources = {"workers": workers, "cpus_per_worker": cpus_per_worker, "gpus_per_worker": gpus}
    return checked_sweep(
        {
            "name": name,
            "objective": {"metric": metric, "mode": registries.metrics()[metric].mode},
            "base": trial.as_dict(),
            "search": {"trials": 1, "sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}},
            "resources": resources,
            "keep_best": 1,
        }
    )


@dataclass(frozen=True)
class Corner:
    """An extreme trial: what is set, the size of its networks, and what a full run costs here (None: not timed).

    It sees so many `images`, for so many floating point operations; a training that is bounded in time sees as many as
    were timed here.  `share` is the number of images that go through a worker's networks at once.
    """

    params: Mapping[str, Any]
    parameters: int
    images: int | None
    flops: float | None
    cost: CostEstimate | None
    share: int


@dataclass(frozen=True)
class Preview:
    """All that `tune --dry-run` shows."""

    sweep: SweepConfig
    parameters: list[Parameter]
    samples: list[dict[str, Any]]
    corners: list[Corner]
    allotment: Allotment
    places: dict[str, str]
    findings: list[Precheck]
    """What is tried before a sweep trains."""

    @property
    def hours(self) -> tuple[float, float] | None:
        """Wall-clock hours of the sweep and its repeats, if all were as cheap or as dear as a corner, and none pruned.

        None where the budget of the search says how many trials there are.
        """
        search = self.sweep.search
        if search.trials is None and search.budget is not None:
            return None
        seconds = [corner.cost.seconds for corner in self.corners if corner.cost is not None]
        waves = (search.most_trials + search.most_repeats) / self.allotment.concurrent
        return min(seconds) * waves / SECONDS_PER_HOUR, max(seconds) * waves / SECONDS_PER_HOUR


def preview(
    sweep: SweepConfig, *, root: Path, storage: str | None, store_folders: Mapping[str, Path] = MappingProxyType({})
) -> Preview:
    """Look at a sweep: sample its space, build the trials at its corners and time a few steps of them on this machine.

    How many trials fit is asked of the cluster at RAY_ADDRESS, if there is one.  Raises ConfigError if a trial cannot
    be built, its data are missing, or the resources cannot hold one trial.
    """
    # As many threads as a worker will have, or the times would be those of another machine.
    torch.set_num_threads(max(1, int(sweep.resources.cpus_per_worker)))
    extremes = extreme_trials(sweep)
    check_population(sweep)
    formats = list[str]()
    if not has_cluster():  # there it might start a machine that costs
        sweep, formats = with_formats(sweep, [extreme.trial for extreme in extremes])
    space, folder, lengths = SearchSpace.of(sweep), SweepFolder(root, sweep.name), TrainingLengths()
    corners, plan, timings = space.corners(), plan_sweep(sweep, lengths), dict[Hashable, Timing]()
    timed = {round(index * (len(corners) - 1) / (CORNERS_TIMED - 1)) for index in range(CORNERS_TIMED)}
    return Preview(
        sweep=sweep,
        parameters=space.describe(),
        samples=[space.sample(sweep.search.seed + index) for index in range(SAMPLES_SHOWN)],
        corners=[
            _corner(sweep, params, lengths, timings, timed=index in timed) for index, params in enumerate(corners)
        ],
        allotment=_allotment(sweep.resources),
        places={
            "sweep folder": str(folder.path) + (" (exists already)" if folder.exists else ""),
            "checkpoints": below(folder.root_in(storage), CHECKPOINTS),
        },
        findings=[
            *(Precheck("precision", line) for line in formats),
            *(Precheck("search", warm_start_words(known)) for known in warm_starts(plan, earlier_sweeps(plan, root))),
            *feasibility(plan),
            *all_findings(sweep, extremes, folder, storage, store_folders),
        ],
    )


def _allotment(resources: Resources) -> Allotment:
    """How many trials fit the cluster at RAY_ADDRESS, or this machine."""
    if not has_cluster():
        return allot(resources, local_nodes(resources))
    from gensweep.sweep.cluster import connected

    with connected():
        from gensweep.sweep.node_types import cluster_nodes

        nodes = cluster_nodes(resources)
    return allot(resources, nodes.living, nodes.addable)


def _corner(
    sweep: SweepConfig,
    params: dict[str, Any],
    lengths: TrainingLengths,
    timings: dict[Hashable, Timing],
    *,
    timed: bool,
) -> Corner:
    """A corner; `timings` are those of networks that were met before, by what tells networks of unlike speed apart."""
    trial = budgeted(sweep, params, lengths)
    images, settings, workers = load_images(trial), trial.flat(), sweep.resources.worker_counts[0]
    parameters, each = count_parameters(trial, images), lengths.flops_per_image(trial)
    share = images_at_once(trial, workers)
    networks = (settings["family.kind"], parameters, each, share, settings["training.precision"])
    if timed and networks not in timings:
        timings[networks] = time_trial(trial, images, workers)
    if networks not in timings:
        known = settings["training.device_seconds"] is None
        length = settings["training.images"] if known else None
        return Corner(params, parameters, length, length and each * length, None, share)
    cost = cost_of(trial, images, timings[networks], workers)
    return Corner(params, parameters, cost.images, each * cost.images, cost, share)


def time_trial(trial: TrialConfig, images: Images, workers: int) -> Timing:
    """What the networks of a trial take on a worker like this process, from a few steps of them."""
    device = default_device()
    training: TrainingSettings = trial.bound("training")()
    share = max(1, training.batch_size // workers)
    # A CPU is as fast an image in small batches; a GPU is not.
    batch = share if device.type == "cuda" else min(share, 32)
    # As many images go through the networks at once as in the trial.
    parts = -(-batch // images_at_once(trial, workers))
    tried = trial.with_overrides({"training.batch_size": batch, "training.accumulation": parts})
    learner = build_learner(tried, images, device, Workers())
    settings: EvaluationSettings = trial.bound("evaluation")()
    return time_networks(learner, images, settings, patience=TIMING_SECONDS)


def cost_of(trial: TrialConfig, images: Images, timing: Timing, workers: int) -> CostEstimate:
    """The cost of a trial on `workers` like this process.

    Reference statistics, which are made once for all trials, are left out.
    """
    family = build_family(trial, images.shape, images.classes)
    training: TrainingSettings = trial.bound("training")()
    settings: EvaluationSettings = trial.bound("evaluation")()
    return estimate_cost(timing, family, images, training, settings, workers=workers)
