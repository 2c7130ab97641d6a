"""Which versions of its packages gensweep allows, which ones it is tested with, and which ones are installed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

#: The newest versions that `.ci/run` has passed with.  It tests the lower bounds in pyproject.toml, too.
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
#: Extras that a user may install.  The other extras are for work on gensweep itself.
USER_EXTRAS = ("cluster", "export", "heic", "hub", "tensorboard", "wandb")


@dataclass(frozen=True)
class Package:
    """A package that gensweep requires; `installed` is None if it is missing, `extra` is "" if it is always needed."""

    required: Requirement
    installed: str | None
    extra: str

    @property
    def name(self) -> str:
        """Its name on PyPI."""
        return self.required.name

    @property
    def oldest(self) -> str:
        """The lower bound of the range."""
        return next(each.version for each in self.required.specifier if each.operator in (">=", "=="))

    @property
    def problem(self) -> str | None:
        """A message with the command that fixes it if the installed version is outside the range, else None."""
        allowed = ",".join(sorted(map(str, self.required.specifier), reverse=True))
        extras = f"[{','.join(sorted(self.required.extras))}]" if self.required.extras else ""
        command = f"pip install '{self.name}{extras}{allowed}'"
        if self.installed is None:
            return None if self.extra else f"not installed; run: {command}"
        if self.required.specifier.contains(self.installed, prereleases=True):
            return None
        return f"{self.installed} is not in the range that gensweep supports ({allowed}); run: {command}"


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
                found.setdefault(required.name, Package(required, installed_version(required.name), extra))
    return list(found.values())


def installed_version(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
