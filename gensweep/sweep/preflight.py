"""What is tried before a sweep trains, within seconds and without Ray: folders, disks, and the memory of a step."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import torch

from gensweep.build.costs import (
    BYTES_PER_PARAMETER,
    Footprint,
    count_parameters,
    footprint,
    images_at_once,
    weight_shapes,
)
from gensweep.build.parts import check_inputs, load_images
from gensweep.config import SweepConfig, TrialConfig
from gensweep.config.ranges import Choices, Range
from gensweep.config.search_methods import PopulationBasedTraining
from gensweep.config.sweep_config import Resources
from gensweep.data.images import Images
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import cache_folder, expanded, nearest_folder, write_problem
from gensweep.machine import usable_memory
from gensweep.remote_folder import is_url
from gensweep.sweep.allotment import NodeResources, allot, limited, local_nodes, workers_that_fit
from gensweep.sweep.core_claims import other_claims
from gensweep.sweep.folder import SweepFolder
from gensweep.training.device import default_device

#: Checkpoints that a place must have room for, for each trial at once: the old one stays until the new one is whole.
CHECKPOINTS_AT_ONCE = 2
#: Extreme trials of each family whose step is counted.
EXTREMES = 2
#: Settings that say how large a network is.
_NETWORK_KEYS = ("network.kind", "network.width", "network.multipliers", "network.blocks")

_PRINT_MEMORIES = """
from torch import cuda
print(*[cuda.get_device_properties(each).total_memory for each in range(cuda.device_count())])
"""


class Precheck(NamedTuple):
    """One thing that was tried, what was found, and what is wrong with it, if anything."""

    name: str
    detail: str
    problem: str | None = None


@dataclass(frozen=True)
class Extreme:
    """A trial at a corner of the space, with what it takes, and the images that a worker has at once."""

    trial: TrialConfig
    share: int
    footprint: Footprint

    @property
    def bytes(self) -> int:
        """Of a training step on a worker."""
        return self.footprint.of(self.share)

    @property
    def batch_size(self) -> int:
        """That of all workers together."""
        return int(self.trial.flat()["training.batch_size"])

    def __str__(self) -> str:
        count = f"{self.footprint.parameters:,} parameters"
        return f"{_network_words(self.trial)} ({count}) with training.batch_size={self.batch_size}"


def check_places(folder: SweepFolder, storage: str | None) -> None:
    """Raises GensweepError, in one line each, for folders that this process cannot write."""
    problems = [each.problem for each in place_findings(folder, storage) if each.problem]
    if problems:
        raise GensweepError("\n".join(problems))


def place_findings(folder: SweepFolder, storage: str | None) -> Iterator[Precheck]:
    """Whether the folders can be written that a sweep writes."""
    for name, path in _places(folder, storage).items():
        problem = write_problem(path)
        words = problem and f"{name}: {problem} ({_remedy(name)})"
        yield Precheck(name, f"{path} can be written", words)


def check_extremes(
    sweep: SweepConfig,
    extremes: Sequence[Extreme],
    folder: SweepFolder,
    storage: str | None,
) -> list[str]:
    """Raises ConfigError if a step needs more memory than a worker has, GensweepError if a disk is too full.

    Of a sweep that goes on, whose trials that are left may be small, the former is returned in lines.
    """
    scarce = [each.problem for each in memory_findings(sweep, extremes) if each.problem]
    if scarce and not folder.exists:
        raise ConfigError(scarce)
    problems = [each.problem for each in disk_findings(sweep, _places(folder, storage), extremes) if each.problem]
    if problems:
        raise GensweepError("\n".join(problems))
    return scarce


def all_findings(
    sweep: SweepConfig,
    extremes: Sequence[Extreme],
    folder: SweepFolder,
    storage: str | None,
) -> Iterator[Precheck]:
    """Everything that is tried, in order; whoever uses cores of this machine is named, too."""
    yield from place_findings(folder, storage)
    yield from memory_findings(sweep, extremes)
    yield from disk_findings(sweep, _places(folder, storage), extremes)
    yield from input_findings(sweep)
    if not os.environ.get("RAY_ADDRESS"):
        for claim in other_claims():
            yield Precheck("cores", str(claim))


def input_findings(sweep: SweepConfig) -> Iterator[Precheck]:
    """What keeps trials from being scored: feature extractors, references and images that are missing or too few."""
    try:
        check_inputs(sweep.corners, sweep.final_settings)
    except GensweepError as error:
        for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
            yield Precheck("inputs", problem, problem)


def _check_weights(sweep: SweepConfig, corners: Sequence[_Corner]) -> None:
    """Raises ConfigError for networks whose weights alone do not fit, before anything builds them."""
    memory = usable_memory()
    if not os.environ.get("RAY_ADDRESS"):
        memory = min(memory, worker_memory(sweep)[0])
    problems = {
        f"memory: {_network_words(trial)} has {parameters:,} parameters, which with gradients and the moments of Adam "
        f"take {_gib(BYTES_PER_PARAMETER * parameters)}, but there are {_gib(memory)}; choose a smaller network"
        for trial, _, parameters in corners
        if BYTES_PER_PARAMETER * parameters > memory
    }
    if problems:
        raise ConfigError(sorted(problems))


def check_population(sweep: SweepConfig) -> None:
    """Raises ConfigError if population based training is to search what decides about the shapes of weights."""
    if not isinstance(sweep.search.scheduler, PopulationBasedTraining):
        return
    first = sweep.corners[0]
    images = load_images(first)
    shapes = weight_shapes(first, images)
    problems = []
    for node in sweep.nodes():
        values = node.values if isinstance(node, Choices) else (node.high,) if isinstance(node, Range) else ()
        if any(weight_shapes(first.with_overrides({node.key: value}), images) != shapes for value in values):
            problems.append(
                f"{node.key}: pbt goes on from the weights of other trials, which do not fit a network with another "
                f"{node.key}; give it one value, or take another scheduler, such as asha"
            )
    if problems:
        raise ConfigError(problems)


def extreme_trials(sweep: SweepConfig) -> list[Extreme]:
    """Of each family those trials of the space's corners that take most, by their weights and their images at once.

    Raises ConfigError for networks whose weights alone do not fit.
    """
    all_corners = list(_corners(sweep))
    _check_weights(sweep, all_corners)
    device = default_device() if sweep.resources.gpus_per_worker else torch.device("cpu")
    corners: dict[str, dict[tuple[int, int, str], tuple[TrialConfig, Images]]] = {}
    for trial, images, parameters in all_corners:
        settings, share = trial.flat(), images_at_once(trial, sweep.resources.worker_counts[-1])
        unlike = corners.setdefault(settings["family.kind"], {})
        unlike.setdefault((parameters * share, share, settings["training.precision"]), (trial, images))
    return [
        Extreme(trial, share, footprint(trial, images, device))
        for unlike in corners.values()
        for (_, share, _), (trial, images) in sorted(unlike.items(), key=itemgetter(0), reverse=True)[:EXTREMES]
    ]


class _Corner(NamedTuple):
    """An extreme trial of the space, with its data and the number of its parameters."""

    trial: TrialConfig
    images: Images
    parameters: int


def _corners(sweep: SweepConfig) -> Iterator[_Corner]:
    images = dict[str, Images]()
    for trial in sweep.corners:
        if (data := trial.data.model_dump_json()) not in images:
            images[data] = load_images(trial)
        yield _Corner(trial, images[data], count_parameters(trial, images[data]))


def _network_words(trial: TrialConfig) -> str:
    settings = {"family": trial.kind("family")}
    settings |= {key: value for key, value in trial.flat().items() if key in _NETWORK_KEYS}
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def memory_findings(sweep: SweepConfig, extremes: Sequence[Extreme]) -> Iterator[Precheck]:
    """Whether a worker of this machine can hold a training step of extreme trials; a cluster is asked later."""
    if not os.environ.get("RAY_ADDRESS"):
        yield from _steps_in(*worker_memory(sweep), sweep, extremes)


def node_memory_problem(sweep: SweepConfig, extremes: Sequence[Extreme], node: NodeResources) -> str | None:
    """Why workers of this machine cannot hold a training step of an extreme trial, if a node there offers so much."""
    resources = sweep.resources
    if resources.gpus_per_worker:
        if not (memories := gpu_memories()):
            return None
        memory, of_what = _gpu_share(resources, min(memories))
    else:
        trials = limited(resources, sweep.search.most_trials)
        memory, of_what = _memory_share(min(workers_that_fit(resources, node), trials * resources.worker_counts[-1]))
    return next((each.problem for each in _steps_in(memory, of_what, sweep, extremes) if each.problem), None)


def gpu_memories() -> tuple[int, ...]:
    """Bytes of each GPU of this machine that PyTorch can use.

    Runs in its own process, because Ray hides GPUs from tasks that request none, and CUDA may crash.
    """
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([sys.executable, "-c", _PRINT_MEMORIES], env=environment, capture_output=True, text=True)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def _steps_in(memory: int, of_what: str, sweep: SweepConfig, extremes: Sequence[Extreme]) -> Iterator[Precheck]:
    for extreme in extremes:
        needed, has = f"{extreme} needs {_gib(extreme.bytes)}", f"a worker has {_gib(memory)} ({of_what})"
        fits = f"memory: {needed} for a training step, but {has}; {_what_fits(sweep, extreme, memory)}"
        yield Precheck("memory", f"{needed}, {has}", fits if extreme.bytes > memory else None)


def worker_memory(sweep: SweepConfig) -> tuple[int, str]:
    """Bytes that a worker of this machine has, and in words where that comes from."""
    resources = sweep.resources
    if resources.gpus_per_worker and torch.cuda.is_available():
        whole = min(torch.cuda.get_device_properties(each).total_memory for each in range(torch.cuda.device_count()))
        return _gpu_share(resources, whole)
    at_once = min(allot(resources, local_nodes(resources)).concurrent, sweep.search.most_trials)
    return _memory_share(at_once * resources.worker_counts[-1])


def _gpu_share(resources: Resources, whole: int) -> tuple[int, str]:
    share = min(1.0, resources.gpus_per_worker)
    return int(whole * share), f"{share:g} of a GPU of {_gib(whole)}"


def _memory_share(workers: int) -> tuple[int, str]:
    return usable_memory() // max(1, workers), f"{workers} at once share {_gib(usable_memory())}"


def _what_fits(sweep: SweepConfig, extreme: Extreme, memory: int) -> str:
    """What would fit; the images of all parts of a batch on all workers make the batch."""
    fits, workers = extreme.footprint.images_in(memory), sweep.resources.worker_counts[-1]
    smaller = "a smaller network, or fewer trials at once (resources.concurrent)"
    if fits < 1:
        return f"not even one image fits: choose {smaller}"
    parts = -(-extreme.batch_size // (fits * workers))
    batch = fits * workers * int(extreme.trial.flat()["training.accumulation"])
    return f"a training.batch_size of {batch} would fit, or training.accumulation={parts}, {smaller}"


def disk_findings(sweep: SweepConfig, places: Mapping[str, Path], extremes: Sequence[Extreme]) -> Iterator[Precheck]:
    """Whether there is room for two checkpoints of each trial at once wherever checkpoints are written."""
    largest = max((extreme.footprint.checkpoint for extreme in extremes), default=0)
    trials = 1
    if not os.environ.get("RAY_ADDRESS"):
        trials = min(allot(sweep.resources, local_nodes(sweep.resources)).concurrent, sweep.search.most_trials)
    needed = CHECKPOINTS_AT_ONCE * largest * trials
    for name, path in places.items():
        if name == CACHE:
            continue
        free = shutil.disk_usage(nearest_folder(path)).free
        words = f"{_gib(free)} free at {path}, {CHECKPOINTS_AT_ONCE} checkpoints of {trials} trials take {_gib(needed)}"
        advice = f"disk: {words}; make room there, or choose another place ({_remedy(name)})"
        yield Precheck("disk", words, advice if free < needed else None)


SWEEPS, STORAGE, SCRATCH, CACHE = "sweeps", "storage", "temporary files", "cache"


def _places(folder: SweepFolder, storage: str | None) -> dict[str, Path]:
    """The folders of this machine that a sweep writes, by what they are for."""
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())  # what was asked for, if it cannot be had
    places = {SWEEPS: folder.path, SCRATCH: temporary, CACHE: cache_folder()}
    if storage is not None and not is_url(storage):
        places[STORAGE] = expanded(storage).absolute()
    return places


def _remedy(name: str) -> str:
    """The option or variable that names another place."""
    return {SWEEPS: "--sweeps", STORAGE: "--storage", SCRATCH: "TMPDIR", CACHE: "GENSWEEP_CACHE"}[name]


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
