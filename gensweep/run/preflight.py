"""Checks before a sweep, within seconds and without Ray: folders, and the memory of a training step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import torch

from gensweep.build.costs import BYTES_PER_PARAMETER, Footprint, count_parameters, footprint, images_at_once
from gensweep.build.parts import check_inputs, load_images
from gensweep.config import SweepConfig, TrialConfig
from gensweep.data.images import Images
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import cache_folder, expanded, write_problem
from gensweep.machine import usable_memory
from gensweep.remote_folder import is_url
from gensweep.run.allotment import allot
from gensweep.run.core_claims import other_claims
from gensweep.run.near_gpus import has_cluster
from gensweep.sweep.folder import SweepFolder
from gensweep.training.device import default_device

#: Number of the largest trials of each family whose step is measured.
EXTREMES = 2
#: Settings that determine the size of a network.
_NETWORK_KEYS = ("network.kind", "network.width", "network.multipliers", "network.blocks")


class CheckResult(NamedTuple):
    """The name and result of a check, and the problem if there is one."""

    name: str
    detail: str
    problem: str | None = None


class LargestTrial(NamedTuple):
    """A trial at a corner of the space, the images that a worker processes at once, and its memory."""

    trial: TrialConfig
    share: int
    footprint: Footprint


def refuse(findings: Iterable[CheckResult]) -> None:
    """Raises GensweepError with one line for each problem."""
    if problems := [each.problem for each in findings if each.problem]:
        raise GensweepError("\n".join(problems))


def check_memory(sweep: SweepConfig, largest: Sequence[LargestTrial], folder: SweepFolder) -> list[str]:
    """Raises ConfigError if a step needs more memory than a worker has; if the sweep is resumed, returns warnings."""
    scarce = [each.problem for each in memory_findings(sweep, largest) if each.problem]
    if scarce and not folder.exists:
        raise ConfigError(scarce)
    return scarce


def all_findings(
    sweep: SweepConfig, largest: Sequence[LargestTrial], folder: SweepFolder, storage: str | None
) -> Iterator[CheckResult]:
    """All checks, in order, and the other sweeps on this machine."""
    yield from place_findings(folder, storage)
    yield from memory_findings(sweep, largest)
    try:
        check_inputs(sweep.corners, sweep.final_settings)
    except GensweepError as error:
        for problem in str(error).splitlines():
            yield CheckResult("inputs", problem, problem)
    if not has_cluster():
        for claim in other_claims():
            yield CheckResult("cores", str(claim))


def place_findings(folder: SweepFolder, storage: str | None) -> Iterator[CheckResult]:
    """Check that the sweep's folders are writable."""
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())  # even if it is not writable
    places = {"sweeps": (folder.path, "--sweeps"), "temporary files": (temporary, "TMPDIR")}
    places["cache"] = (cache_folder(), "GENSWEEP_CACHE")
    if storage is not None and not is_url(storage):
        places["storage"] = (expanded(storage).absolute(), "--storage")
    for name, (path, remedy) in places.items():
        problem = write_problem(path)
        yield CheckResult(name, f"{path} is writable", problem and f"{name}: {problem} ({remedy})")


def memory_findings(sweep: SweepConfig, largest: Sequence[LargestTrial]) -> Iterator[CheckResult]:
    """Check that a worker of this machine has memory for a step of the largest trials; ignores clusters."""
    if has_cluster():
        return
    memory, source = worker_memory(sweep)
    for trial, share, needs in largest:
        batch = int(trial.flat()["training.batch_size"])
        said = (
            f"{_format_network(trial)} ({needs.parameters:,} parameters) with training.batch_size={batch} needs "
            f"{_gib(needs.of(share))} for a training step, but a worker has {_gib(memory)} ({source})"
        )
        fits = needs.images_in(memory) * sweep.resources.worker_counts[-1]  # on all workers of a trial
        advice = "a smaller network, or fewer trials at once (resources.concurrent)"
        if fits < 1:
            advice = f"not even one image fits: choose {advice}"
        else:
            batch_limit = fits * int(trial.flat()["training.accumulation"])
            parts = -(-batch // fits)
            advice = f"a training.batch_size of {batch_limit} would fit, or training.accumulation={parts}, {advice}"
        yield CheckResult("memory", said, f"memory: {said}; {advice}" if needs.of(share) > memory else None)


def worker_memory(sweep: SweepConfig) -> tuple[int, str]:
    """Bytes of memory for a worker of this machine, and their source."""
    if sweep.resources.gpus_per_worker and torch.cuda.is_available():
        whole = min(torch.cuda.get_device_properties(each).total_memory for each in range(torch.cuda.device_count()))
        share = min(1.0, sweep.resources.gpus_per_worker)
        return int(whole * share), f"{share:g} of a GPU with {_gib(whole)}"
    trials = min(allot(sweep.resources).concurrent, sweep.search.most_trials)
    workers = trials * sweep.resources.worker_counts[-1]
    return usable_memory() // max(1, workers), f"{workers} at once share {_gib(usable_memory())}"


def largest_trials(sweep: SweepConfig) -> list[LargestTrial]:
    """The trials at corners with most parameters, and with most images at once, of each family.

    Raises ConfigError for networks whose weights alone do not fit, before anything builds them.
    """
    memory = usable_memory() if has_cluster() else worker_memory(sweep)[0]
    loaded, problems = dict[str, Images](), set[str]()
    corners: dict[str, dict[tuple[int, int, str], tuple[TrialConfig, Images]]] = {}
    for trial in sweep.corners:
        if (data := trial.data.model_dump_json()) not in loaded:
            loaded[data] = load_images(trial)
        settings, images = trial.flat(), loaded[data]
        parameters, share = count_parameters(trial, images), images_at_once(trial, sweep.resources.worker_counts[-1])
        if BYTES_PER_PARAMETER * parameters > memory:
            problems.add(
                f"memory: {_format_network(trial)} has {parameters:,} parameters, which with gradients and the moments "
                f"of Adam need {_gib(BYTES_PER_PARAMETER * parameters)}, but there are {_gib(memory)}; "
                "choose a smaller network"
            )
        unlike = corners.setdefault(settings["family.kind"], {})
        unlike.setdefault((parameters * share, share, settings["training.precision"]), (trial, images))
    if problems:
        raise ConfigError(sorted(problems))
    device = default_device() if sweep.resources.gpus_per_worker else torch.device("cpu")
    return [
        LargestTrial(trial, share, footprint(trial, images, device))
        for unlike in corners.values()
        for (_, share, _), (trial, images) in sorted(unlike.items(), key=itemgetter(0), reverse=True)[:EXTREMES]
    ]


def _format_network(trial: TrialConfig) -> str:
    settings = {"family": trial.kind("family")}
    settings |= {key: value for key, value in trial.flat().items() if key in _NETWORK_KEYS}
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
