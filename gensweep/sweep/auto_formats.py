"""What `auto` means in the trials of a sweep: measured once, on what a worker has, before the sweep trains."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from gensweep.build.measured_formats import few_images, measure_formats
from gensweep.config import SweepConfig, TrialConfig
from gensweep.config.sweep_config import AUTO_KEYS, FastestFormats
from gensweep.families.spelling import family_name
from gensweep.sweep.cluster_task import run_as_worker
from gensweep.training.fastest_format import FormatTimes


def with_formats(sweep: SweepConfig, trials: Iterable[TrialConfig]) -> tuple[SweepConfig, list[str]]:
    """The sweep with a meaning of `auto` for each family that says it, and what was found, in a line each.

    The first trial of a family is the one whose networks are timed.  Raises what building and running it raises.
    """
    first: dict[str, TrialConfig] = {}
    asked: dict[str, set[str]] = {}
    for trial in trials:
        if keys := {key for key in AUTO_KEYS.values() if trial.flat().get(key) == "auto"}:
            first.setdefault(trial.kind("family"), trial)
            asked.setdefault(trial.kind("family"), set()).update(keys)
    if not first or sweep.formats:
        return sweep, []
    resources = sweep.resources
    few, threads = [few_images(trial) for trial in first.values()], max(1, int(resources.cpus_per_worker))
    times = run_as_worker(
        resources, measure_formats, list(first.values()), few, threads, bool(resources.gpus_per_worker)
    )
    found = dict(zip(first, times, strict=True))
    formats = {
        family: FastestFormats(
            precision=each.fastest.precision,
            memory_format=each.fastest.memory_format,
            sampling_precision=each.sampling_precision,
        )
        for family, each in found.items()
    }
    return sweep.model_copy(update={"formats": formats}), [
        line for family, each in found.items() for line in format_lines(family_name(family), each, asked[family])
    ]


def format_lines(network: str, times: FormatTimes, keys: Collection[str]) -> Iterator[str]:
    """What was measured, in words, of the formats that these keys leave open."""
    fastest = times.fastest
    others = ", ".join(
        f"{form.precision} {form.memory_format} {seconds / times.training[fastest]:.2f}"
        for form, seconds in times.training.items()
        if form != fastest
    )
    if "training.precision" in keys or "training.memory_format" in keys:
        yield f"{network} trains in {fastest.precision}, {fastest.memory_format} (times of the others: {others})"
    if not times.sampling or "family.sampling_precision" not in keys:
        return
    drawn = times.sampling_precision
    others = ", ".join(
        f"{precision} {seconds / times.sampling[drawn]:.2f}"
        for precision, seconds in times.sampling.items()
        if precision != drawn
    )
    yield f"{network} draws samples in {drawn}" + (f" ({others})" if others else "")
