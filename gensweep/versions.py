"""Versions of gensweep's packages: allowed, tested and installed."""

from __future__ import annotations

from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement

#: The newest versions with which `.ci/run` has passed.  It also tests the lower bounds in pyproject.toml.
NEWEST_TESTED = {
    "python": "3.13",
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "ray": "2.60.0",
    "optuna": "5.0.0",
    "mlflow": "3.17.2",
    "pytorch-ignite": "0.5.5",
}
OLDEST_PYTHON = "3.11"
#: Extras for users.  The other extras are for work on gensweep itself.
USER_EXTRAS = ("cluster", "export", "heic", "hub", "tensorboard", "wandb")


class Package(NamedTuple):
    """A package that gensweep requires; `installed` is None if it is missing, `extra` is "" if it is always needed.

    `oldest` is the lower bound of the range, `problem` the command that fixes an unsupported version.
    """

    name: str
    installed: str | None
    extra: str
    oldest: str
    problem: str | None


def required_packages() -> list[Package]:
    """The packages of gensweep, then the packages of user extras.  Empty if gensweep itself is not installed."""
    try:
        requirements = [Requirement(line) for line in metadata.requires("gensweep") or ()]
    except metadata.PackageNotFoundError:
        return []
    found = dict[str, Package]()
    for extra in ("", *USER_EXTRAS):
        for required in requirements:
            if required.marker is None or required.marker.evaluate({"extra": extra}):
                found.setdefault(required.name, _package(required, extra))
    return list(found.values())


def _package(required: Requirement, extra: str) -> Package:
    installed, problem = installed_version(required.name), None
    allowed = ",".join(sorted(map(str, required.specifier), reverse=True))
    extras = f"[{','.join(sorted(required.extras))}]" if required.extras else ""
    command = f"run: pip install '{required.name}{extras}{allowed}'"
    if installed is None:
        problem = None if extra else f"not installed; {command}"
    elif not required.specifier.contains(installed, prereleases=True):
        problem = f"{installed} is not supported ({allowed}); {command}"
    oldest = next(each.version for each in required.specifier if each.operator in (">=", "=="))
    return Package(required.name, installed, extra, oldest, problem)


def installed_version(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
