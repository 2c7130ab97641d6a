"""`gensweep doctor`: is this machine, store and metric fit to give a verdict?"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import click

from gensweep.files import MIN_FREE_GIB, write_problem
from gensweep.report.output import format_option, print_rows

PACKAGES = ("gensweep", "torch", "torchvision", "ray", "optuna", "mlflow", "pytorch-ignite")


class Finding(NamedTuple):
    """One line of the answer: what was looked at, how it stands, and what was seen or what to do."""

    check: str
    status: Literal["ok", "note", "fail"]
    detail: str


@click.command()
@format_option
@click.option(
    "--quick",
    is_flag=True,
    help="Leave out what takes a second or more: timing a network, the extractor's self-test.",
)
def doctor(format: str, quick: bool) -> int:
    """Is this machine, store and metric fit to give a verdict?

    Looks at versions, devices, disk, the MLflow store, the data sets, the fastest precision of a network, the feature
    extractor, and proves the distance on Gaussians with known answers.  Ends with 1 if anything fails.

    \b
    Examples:
      gensweep doctor
      gensweep doctor --format json
    """
    looks = [_versions, _devices, _disk, _store, _data, *([] if quick else [_precision, _metric])]
    findings = [finding for look in looks for finding in _examine(look)]
    print_rows([finding._asdict() for finding in findings], format)
    failed = sum(finding.status == "fail" for finding in findings)
    click.echo(f"{len(findings)} checks, {failed} failed", err=True)
    return 1 if failed else 0


def _examine(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    # A doctor that falls ill at the first finding is of no use: whatever breaks is a finding of its own.
    try:
        yield from look()
    except Exception as error:
        yield Finding(look.__name__.strip("_"), "fail", f"{type(error).__name__}: {error}")


def _versions() -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    for package in PACKAGES:
        try:
            yield Finding(package, "ok", metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding(package, "fail", f"not installed; run: pip install {package}")


def _devices() -> Iterator[Finding]:
    import torch

    from gensweep.machine import usable_cores, usable_memory

    yield Finding("cpu", "ok", f"{usable_cores()} cores, {usable_memory() / 2**30:.0f} GiB memory")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding(f"gpu {index}", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        yield Finding("gpu", "note", "none: sweeps run on the CPU; use --scale cpu")
        yield _kernels()


def _kernels() -> Finding:
    from gensweep.kernels import active
    from gensweep.kernels.library import detail

    if active() == "c++":
        return Finding("kernels", "ok", f"c++, {detail()}")
    slow = "a diffusion model trains at about two thirds of its speed on this CPU"
    return Finding("kernels", "note", f"torch, so {slow}: {detail()}")


def _disk() -> Iterator[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    enough, hint = free > MIN_FREE_GIB, f"; make at least {MIN_FREE_GIB} GiB free"
    yield Finding("disk", "ok" if enough else "fail", f"{free:.0f} GiB free here{'' if enough else hint}")
    if (problem := write_problem(here)) is not None:
        yield Finding("folder", "fail", problem)


def _store() -> Iterator[Finding]:
    from gensweep.tracking.store import tracking_uri
    from gensweep.tracking.store_check import check_server

    check_server(writes=True)
    yield Finding("mlflow store", "ok", tracking_uri())


def _data() -> Iterator[Finding]:
    from gensweep.cache import cache_folder
    from gensweep.data.images import DATASETS
    from gensweep.errors import GensweepError

    for kind in ("digits", "cifar10"):
        try:
            images = DATASETS[kind]("train", cache_folder())
            yield Finding(f"data {kind}", "ok", f"{len(images)} images, {images.classes} classes")
        except GensweepError as error:
            yield Finding(f"data {kind}", "note", str(error))


def _precision() -> Iterator[Finding]:
    """What `auto` would mean here for the U-Net that a trial has if its configuration says nothing."""
    import torch

    from gensweep.build.measured_formats import few_images, measure_formats
    from gensweep.config import TrialConfig
    from gensweep.config.sweep_config import AUTO_KEYS
    from gensweep.sweep.auto_formats import format_lines

    trial = TrialConfig.from_dict({"data": {"kind": "digits"}, "family": {"kind": "diffusion"}})
    (times,) = measure_formats([trial], [few_images(trial)], 1, torch.cuda.is_available())
    for line in format_lines("a U-Net", times, AUTO_KEYS.values()):
        yield Finding("precision", "ok", line)


def _metric() -> Iterator[Finding]:
    from gensweep.metrics.selftest import selftest

    for check in selftest():
        detail = f"expected {check.expected:.6g}, got {check.actual:.6g}"
        yield Finding(check.name, "ok" if check.passed else "fail", detail)
