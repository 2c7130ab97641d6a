"""`gensweep doctor`: check that this machine can run sweeps."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import click
from packaging.version import Version

from gensweep.files import MIN_FREE_GIB, write_problem
from gensweep.report.output import format_option, print_rows
from gensweep.versions import NEWEST_TESTED, OLDEST_PYTHON, installed_version, required_packages


class Finding(NamedTuple):
    """A check, its status, and a detail or remedy."""

    check: str
    status: Literal["ok", "note", "fail"]
    detail: str


@click.command()
@format_option
def doctor(format: str) -> int:
    """Check that this machine can run sweeps.

    Checks versions, devices, disk, the MLflow store and the data sets.  The exit code is 1 if any check fails.

    \b
    Examples:
      gensweep doctor
      gensweep doctor --format json
    """
    findings = [finding for look in (_versions, _devices, _disk, _store, _data) for finding in _examine(look)]
    print_rows([finding._asdict() for finding in findings], format)
    failed = sum(finding.status == "fail" for finding in findings)
    click.echo(f"{len(findings)} checks, {failed} failed", err=True)
    return 1 if failed else 0


def _examine(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    # An error of a check becomes a finding, so that the other checks still run.
    try:
        yield from look()
    except Exception as error:
        yield Finding(look.__name__.strip("_"), "fail", f"{type(error).__name__}: {error}")


def _versions() -> Iterator[Finding]:
    yield _tested("python", platform.python_version(), OLDEST_PYTHON)
    gensweep = installed_version("gensweep")
    yield Finding("gensweep", "ok" if gensweep else "fail", gensweep or "not installed; run: pip install gensweep")
    for package in required_packages():
        if package.problem is not None:
            yield Finding(package.name, "note" if package.extra else "fail", package.problem)
        elif package.installed is not None and package.name in NEWEST_TESTED:
            yield _tested(package.name, package.installed, package.oldest)


def _tested(name: str, installed: str, oldest: str) -> Finding:
    newest = NEWEST_TESTED[name]
    is_newer = Version(installed).release[:2] > Version(newest).release[:2]  # 2.15.0 stands for all of 2.15
    tested = newest if Version(oldest) == Version(newest) else f"{oldest} and {newest}"
    return Finding(name, "note" if is_newer else "ok", f"{installed} (tested: {tested})")


def _devices() -> Iterator[Finding]:
    import torch

    from gensweep.kernels import active
    from gensweep.kernels.library import detail
    from gensweep.machine import usable_cores, usable_memory

    yield Finding("cpu", "ok", f"{usable_cores()} cores, {usable_memory() / 2**30:.0f} GiB memory")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding(f"gpu {index}", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        yield Finding("gpu", "note", "none: sweeps run on the CPU; use --scale cpu")
        slow = "torch, so a diffusion model trains at about two thirds of its speed on this CPU: "
        is_compiled = active() == "c++"
        yield Finding("kernels", "ok" if is_compiled else "note", ("c++, " if is_compiled else slow) + detail())


def _disk() -> Iterator[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    enough, hint = free > MIN_FREE_GIB, f"; free at least {MIN_FREE_GIB} GiB free"
    yield Finding("disk", "ok" if enough else "fail", f"{free:.0f} GiB free here{'' if enough else hint}")
    if (problem := write_problem(here)) is not None:
        yield Finding("folder", "fail", problem)


def _store() -> Iterator[Finding]:
    from gensweep.tracking.store import (
        TRAINING_RUNS,
        check_store,
        client,
        experiment_id,
        explaining_errors,
        tracking_uri,
    )

    check_store()
    with explaining_errors(f"the MLflow store {tracking_uri()} is reachable, but not writable (CAUSE)"):
        store = client()
        for key, value in TRAINING_RUNS.items():
            store.set_experiment_tag(experiment_id(store), key, value)
    yield Finding("mlflow store", "ok", tracking_uri())


def _data() -> Iterator[Finding]:
    from gensweep.data.images import DATASETS
    from gensweep.errors import GensweepError
    from gensweep.files import cache_folder

    for kind in ("digits", "cifar10"):
        try:
            images = DATASETS[kind]("train", cache_folder())
            yield Finding(f"data {kind}", "ok", f"{len(images)} images, {images.classes} classes")
        except GensweepError as error:
            yield Finding(f"data {kind}", "note", str(error))
