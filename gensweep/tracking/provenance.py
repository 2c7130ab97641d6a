"""Where a result comes from: code, command, packages, machine; with everything secret taken out."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gensweep import plugins
from gensweep.config.trial_config import written_plugins
from gensweep.errors import ConfigError
from gensweep.redaction import redact
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder

#: The packages that shape a result.
PACKAGES = ("gensweep", "torch", "torchvision", "ray", "optuna", "mlflow", "pytorch-ignite", "numpy")
#: The tag that holds the hash of the code of each plug-in, as JSON.
PLUGINS = "gensweep.plugins"
#: Digits of a hash that are shown to people, and that name the folder of a plug-in's code.
SHORT_HASH = 12
#: Characters of a change since the commit that are kept.
MAX_DIFF_LENGTH = 1_000_000


@dataclass(frozen=True)
class GitState:
    """The commit of the code, whether it was changed since, and the change."""

    commit: str
    dirty: bool
    diff: str


def command_line(argv: Sequence[str] | None = None) -> str:
    """The command as one would type it, without secrets."""
    words = list(sys.argv if argv is None else argv)
    if words:
        words[0] = "gensweep" if Path(words[0]).name in ("gensweep", "__main__.py") else Path(words[0]).name
    return redact(shlex.join(words))


def versions() -> dict[str, str]:
    """Python's version and those of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def devices() -> str:
    """The driver's machine in words.  Never imports torch: GPUs are named if something else has loaded it."""
    text = f"{os.cpu_count() or 1} CPU cores ({platform.machine()})"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        text += "".join(f", {names.count(name)} x {name}" for name in dict.fromkeys(names))
    return text


def git_state(folder: Path | None = None) -> GitState | None:
    """The state of the code: gensweep's own checkout if it runs from one, else `folder` (the current one); or None."""
    package = Path(__file__).resolve().parents[1]
    for checkout in (package, Path.cwd()) if folder is None else (folder,):
        commit = _git(checkout, "rev-parse", "HEAD")
        # An installed package can lie inside somebody's checkout without being part of it.
        if commit is None or (checkout == package and not _git(checkout, "ls-files", "__init__.py")):
            continue
        changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        diff = (_git(checkout, "diff", "HEAD") or "") if changes else ""
        return GitState(commit.strip(), bool(changes), redact(diff[:MAX_DIFF_LENGTH]))
    return None


def provenance_tags(state: GitState | None, config: Mapping[str, Any], argv: Sequence[str] | None) -> dict[str, str]:
    """The tags of a sweep that say how it came to be.  `config` is the sweep's effective configuration."""
    tags = {
        "gensweep.command": command_line(argv),
        "gensweep.versions": json.dumps(versions()),
        "gensweep.devices": devices(),
        "gensweep.world_size": str(config.get("resources", {}).get("workers", 1)),
        "gensweep.seed": str(config.get("search", {}).get("seed", config.get("base", {}).get("seed", 0))),
    }
    if loaded := plugins.loaded():
        tags[PLUGINS] = json.dumps({plugin.module: plugin.sha256 for plugin in loaded})
    if state is not None:
        tags |= {
            "gensweep.git_commit": state.commit,
            "gensweep.dirty": str(state.dirty).lower(),
            "mlflow.source.git.commit": state.commit,
        }
    return tags


def install_kept_plugins(folder: SweepFolder) -> list[str]:
    """Import the plug-ins with which a sweep last ran and that this machine lacks, from the copies in its folder.

    Returns their modules.  Raises ConfigError if a copy is missing or not what was recorded.
    """
    sessions, installed = folder.state().sessions, list[str]()
    recorded = json.loads(sessions[-1].tags.get(PLUGINS, "{}")) if sessions else {}
    written = {plugins.module_of(name): name for name in written_plugins(folder.settings.get("sweep", {})).values()}
    for module, sha256 in recorded.items():
        if plugins.is_here(written.get(module, module)):
            continue
        copy = folder.path / PLUGINS_FOLDER / sha256[:SHORT_HASH]
        files = {file.relative_to(copy).as_posix(): file.read_bytes() for file in copy.rglob("*") if file.is_file()}
        plugin = plugins.Plugin(module, module, files)
        if plugin.sha256 != sha256:
            what = "is not what it was" if files else "is missing"
            raise ConfigError(
                f"plug-in {module}: it is not on this machine, and its copy in {copy} {what}; bring its code here and "
                "name it with --import"
            )
        plugin.install()
        installed.append(module)
    return installed


def changed_plugins(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What to say of plug-ins whose code is another one than when a sweep last ran, by the tags of the two sessions."""
    old, new = (json.loads(tags.get(PLUGINS, "{}")) for tags in (before, now))
    return [
        f"the code of the plug-in {module} has changed since the sweep last ran ({old[module][:SHORT_HASH]} then, "
        f"{new[module][:SHORT_HASH]} now); what is trained from here on is trained with the new one"
        for module in old
        if module in new and old[module] != new[module]
    ]


def _git(folder: Path, *arguments: str) -> str | None:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
