"""The plan of a sweep for the driver, and a preview that trains nothing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gensweep.build.costs import TrialCosts, count_parameters, images_at_once
from gensweep.build.parts import build_learner, load_images, run_job, with_recorded_start
from gensweep.config import SweepConfig, TrialConfig, checked_sweep, registries
from gensweep.config.objectives import SECONDS_PER_HOUR
from gensweep.config.ranges import corners, point_of
from gensweep.config.sweep_config import Search
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.files import expanded
from gensweep.remote_folder import below, is_url
from gensweep.run.allotment import Allotment, allot
from gensweep.run.near_gpus import has_cluster
from gensweep.run.preflight import CheckResult, all_findings, largest_trials
from gensweep.search.space import Parameter, describe, sample, suggest
from gensweep.search.sweep_plan import SweepPlan, format_warm_start, warm_starts
from gensweep.sweep.checkpoints import CHECKPOINTS
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.training.device import default_device
from gensweep.training.distributed import Workers
from gensweep.training.settings import EvaluationSettings, TrainingSettings
from gensweep.training.timing import seconds_per_image

SAMPLES_SHOWN = 5  # random trials in a preview
CORNERS_TIMED = 8  # corners whose steps a preview times


def plan_sweep(sweep: SweepConfig, costs: TrialCosts) -> SweepPlan:
    """The plan of a sweep; sweep.json keeps its configuration, so that it can be resumed."""
    nodes = sweep.nodes()
    corners = [at_length(sweep, trial, costs) for trial in sweep.corners]
    budget = sweep.budget
    device = default_device() if sweep.resources.gpus_per_worker else torch.device("cpu")
    return SweepPlan(
        name=sweep.name,
        objective=sweep.score,
        further=sweep.objective[1:],
        constraints=sweep.constraints,
        known=lambda config: known_costs(sweep, TrialConfig.from_dict(config), costs, device),
        search=sweep.search,
        unit="images" if budget is None else budget.unit,
        budget=max(corner.flat()["training.images"] for corner in corners) if budget is None else budget.amount,
        equal=budget is not None,
        job=run_job,
        sample=partial(suggest, nodes),
        nodes=nodes,
        queue=tuple(point_of(nodes, settings).params for settings in sweep.search.enqueue),
        grace=sweep.search.first_rung or min(_first_rung(sweep, each) for each in corners),
        resources=sweep.resources,
        keep_best=sweep.keep_best,
        relative_paths=tuple(dict.fromkeys(line for corner in corners for line in relative_paths(corner))),
        configure=lambda overrides: with_recorded_start(at_length(sweep, sweep.trial(overrides), costs)).as_dict(),
        settings={"sweep": sweep.as_dict()},
    )


def known_costs(sweep: SweepConfig, trial: TrialConfig, costs: TrialCosts, device: torch.device) -> dict[str, float]:
    """Costs of a trial that are known in advance: those with a limit, and its share of search.budget."""
    found = costs.limited(trial, sweep.constraints, sweep.resources.worker_counts[-1], device)
    budget, search = sweep.budget, sweep.search.budget
    if search is None or search.unit in found:
        return found
    if budget is not None and budget.unit == search.unit:
        return {**found, search.unit: budget.amount}
    flops = costs.flops(trial) if search.unit == "flops" else None
    return found if flops is None else {**found, "flops": flops}


def relative_paths(trial: TrialConfig) -> list[str]:
    """Settings of a trial that are relative paths, as "key: path"."""
    values = trial.flat()
    against = str(values.get("evaluation.against", ""))
    paths = {
        "data.path": values.get("data.path"),
        "evaluation.against": against if against.endswith(("/", ".npz")) else None,
        "start.base": values.get("start.base"),
    }
    return [
        f"{key}: {path}"
        for key, path in paths.items()
        if isinstance(path, str) and not is_url(path) and not expanded(path).is_absolute()
    ]


def at_length(sweep: SweepConfig, trial: TrialConfig, costs: TrialCosts) -> TrialConfig:
    """The trial with the length that the sweep's budget allows.  Raises GensweepError if its images are missing."""
    if sweep.budget is None or sweep.budget.flops is None:
        return trial
    return costs.with_length(trial, sweep.budget.flops)


def _first_rung(sweep: SweepConfig, trial: TrialConfig) -> float:
    """The cost of a trial at its first evaluation, in the unit of the budget."""
    evaluation: EvaluationSettings = trial.bound("evaluation")()
    length = trial.flat()["training.images"]
    images = next(iter(evaluation.rungs(length)), length)
    return images if sweep.budget is None else sweep.budget.amount * images / length


def single_trial(
    name: str, trial: TrialConfig, workers: int, cpus_per_worker: float = 1, gpus_per_worker: float | None = None
) -> SweepConfig:
    """A sweep of one trial with its first metric as objective; by default a worker uses a GPU if there is one."""
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
    """A corner: its settings, the size of its networks, and the cost of a full run here (None: not timed).

    Sampling is as fast as training steps, in FLOP/s.
    """

    params: Mapping[str, Any]
    parameters: int
    images: int | None
    flops: float | None
    training_seconds: float | None = None
    drawing_seconds: float = 0.0

    @property
    def seconds(self) -> float | None:
        """Seconds for training and sampling."""
        return None if self.training_seconds is None else self.training_seconds + self.drawing_seconds


@dataclass(frozen=True)
class Preview:
    """The content of `tune --dry-run`."""

    sweep: SweepConfig
    parameters: list[Parameter]
    samples: list[dict[str, Any]]
    corners: list[Corner]
    allotment: Allotment
    places: dict[str, str]
    findings: list[CheckResult]

    @property
    def money(self) -> tuple[float, float] | None:
        """Price of the devices for `hours`; None if either is unknown."""
        resources, hours = self.sweep.resources, self.hours
        if hours is None or (price := resources.known_price) is None:
            return None
        devices = self.allotment.concurrent * resources.worker_counts[0]
        return price.per_hour * devices * hours[0], price.per_hour * devices * hours[1]

    @property
    def hours(self) -> tuple[float, float] | None:
        """Hours for the sweep and its repeats, with the costs of the cheapest and the most expensive corner.

        None if search.budget determines the number of trials.
        """
        search = self.sweep.search
        if search.trials is None and search.budget is not None:
            return None
        seconds = [corner.seconds for corner in self.corners if corner.seconds is not None]
        waves = (search.most_trials + search.most_repeats) / self.allotment.concurrent
        return min(seconds) * waves / SECONDS_PER_HOUR, max(seconds) * waves / SECONDS_PER_HOUR


def preview(sweep: SweepConfig, *, root: Path, storage: str | None) -> Preview:
    """Preview a sweep: sample its space, build the trials at its corners and time a few steps of them on this machine.

    Counts the trials that fit the cluster at RAY_ADDRESS, if any.  Raises ConfigError if a trial cannot be
    built, its data are missing, or no trial fits the resources.
    """
    largest = largest_trials(sweep)
    nodes, folder = sweep.nodes(), SweepFolder(root, sweep.name)
    allotment, warm = allotment_of(sweep), warm_starts(plan_sweep(sweep, TrialCosts()), root)
    return Preview(
        sweep=sweep,
        parameters=list(describe(nodes)),
        samples=[sample(nodes, sweep.search.seed + index) for index in range(SAMPLES_SHOWN)],
        corners=timed_corners(sweep),
        allotment=allotment,
        places={
            "sweep folder": str(folder.path) + (" (exists already)" if folder.exists else ""),
            "checkpoints": below(folder.root_in(storage), CHECKPOINTS),
        },
        findings=[
            *(CheckResult("search", format_warm_start(known)) for known in warm),
            CheckResult("search", format_startup(sweep.search, warm, allotment.concurrent)),
            *all_findings(sweep, largest, folder, storage),
        ],
    )


def format_startup(search: Search, warm: Sequence[WarmStarted], concurrent: int) -> str:
    """How many trials are sampled at random, if `concurrent` trials run at a time and none fails."""
    kind, trials = search.sampler.kind, search.most_trials
    queued = len(search.enqueue) + sum(len(each.queue) for each in warm)
    # While a trial is sampled, the running ones have no score yet.
    ended = (max(0, position - concurrent + 1) for position in range(queued, trials))
    random = sum(count < search.startup_trials for count in ended)
    total = "" if search.trials is None and search.budget is not None else f" of {trials}"
    return f"{random}{total} trials are random" + ("" if kind == "random" else f", then {kind}")


def timed_corners(sweep: SweepConfig) -> list[Corner]:
    """The corners, some of them with the measured time of a few steps."""
    torch.set_num_threads(max(1, int(sweep.resources.cpus_per_worker)))  # as in a worker
    timed = {round(index * (len(sweep.corners) - 1) / (CORNERS_TIMED - 1)) for index in range(CORNERS_TIMED)}
    costs, paces = TrialCosts(), dict[Hashable, float]()
    return [
        _corner(sweep, trial, params, costs, paces, timed=index in timed)
        for index, (trial, params) in enumerate(zip(sweep.corners, corners(sweep.nodes()), strict=True))
    ]


def allotment_of(sweep: SweepConfig) -> Allotment:
    """Number of trials that fit the cluster at RAY_ADDRESS, or this machine."""
    if not has_cluster():
        return allot(sweep.resources)
    from gensweep.run.cluster import connected

    with connected():
        from gensweep.run.nodes import addable_nodes, node_resources

        return allot(sweep.resources, node_resources(), grows=addable_nodes() > 0)


def _corner(
    sweep: SweepConfig,
    trial: TrialConfig,
    params: dict[str, Any],
    costs: TrialCosts,
    paces: dict[Hashable, float],
    *,
    timed: bool,
) -> Corner:
    """Preview one corner; `paces` caches seconds per image for each network."""
    trial = at_length(sweep, trial, costs)
    images, settings, workers = load_images(trial), trial.flat(), sweep.resources.worker_counts[0]
    parameters, flops = count_parameters(trial, images), costs.flops_per_image(trial)
    share = images_at_once(trial, workers)
    networks = (settings["family.kind"], parameters, flops, share, settings["training.precision"])
    if timed and networks not in paces:
        paces[networks] = time_trial(trial, images, workers)
    bounded, pace = settings["training.device_seconds"], paces.get(networks)
    if pace is None:
        length = settings["training.images"] if bounded is None else None
        return Corner(params, parameters, length, length and flops * length)
    length = settings["training.images"] if bounded is None else min(settings["training.images"], int(bounded / pace))
    evaluation: EvaluationSettings = trial.bound("evaluation")()
    drawn = evaluation.drawn * (1 + len(evaluation.rungs(length)))
    drawing = pace * drawn * costs.sample_flops(trial) / max(flops, 1.0) / workers
    return Corner(params, parameters, length, flops * length, pace * length / workers, drawing)


def time_trial(trial: TrialConfig, images: Images, workers: int) -> float:
    """Seconds for one training image on a worker like this process."""
    device = default_device()
    training: TrainingSettings = trial.bound("training")()
    share = max(1, training.batch_size // workers)
    # On a CPU, time per image hardly depends on the batch; on a GPU it does.
    batch = share if device.type == "cuda" else min(share, 32)
    # The same number of images at once as in the trial.
    parts = -(-batch // images_at_once(trial, workers))
    tried = trial.with_overrides({"training.batch_size": batch, "training.accumulation": parts})
    learner = build_learner(tried, images, device, Workers())
    return seconds_per_image(learner, Loader(images, seed=trial.seed, device=device))
