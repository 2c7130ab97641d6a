"""Where a result comes from: code, command, packages, machine; without secrets."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensweep import plugins
from gensweep.files import write_text
from gensweep.redaction import redact
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder
from gensweep.sweep.plugin_copies import PLUGINS, SHORT_HASH
from gensweep.versions import NEWEST_TESTED, installed_version

#: Characters kept of the changes since the commit.
MAX_DIFF_LENGTH = 1_000_000


@dataclass(frozen=True)
class GitState:
    """The commit of the code, and the changes since, if any."""

    commit: str
    diff: str


def command_line() -> str:
    """The command line of this process, quoted, without secrets."""
    name = Path(sys.argv[0]).name
    return redact(shlex.join(["gensweep" if name == "__main__.py" else name, *sys.argv[1:]]))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    found = {name: installed_version(name) for name in ("gensweep", "numpy", *NEWEST_TESTED)}
    return {"python": platform.python_version()} | {name: version for name, version in found.items() if version}


def devices() -> str:
    """A description of the driver's machine.  Never imports torch: it lists GPUs only if torch is loaded."""
    text = f"{os.cpu_count() or 1} CPU cores ({platform.machine()})"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        text += "".join(f", {names.count(name)} x {name}" for name in dict.fromkeys(names))
    return text


def git_state(folder: Path | None = None) -> GitState | None:
    """State of gensweep's checkout, else of the repository at `folder` (by default the current one), else None."""
    package = Path(__file__).resolve().parents[1]
    for checkout in (package, Path.cwd()) if folder is None else (folder,):
        commit = _git(checkout, "rev-parse", "HEAD")
        # An installed package may be inside another project's checkout.
        if commit is None or (checkout == package and not _git(checkout, "ls-files", "__init__.py")):
            continue
        diff = _git(checkout, "diff", "HEAD") or ""
        return GitState(commit.strip(), redact(diff[:MAX_DIFF_LENGTH]))
    return None


def record_provenance(folder: SweepFolder, config: Mapping[str, Any]) -> dict[str, str]:
    """Write the changes since the commit and the code of plug-ins to a sweep's folder; returns `provenance_tags`."""
    state = git_state()
    if state is not None and state.diff:
        write_text(folder.path / "git.diff", state.diff)
    for plugin in plugins.loaded():
        plugin.write(folder.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH])
    return provenance_tags(state, config)


def provenance_tags(state: GitState | None, config: Mapping[str, Any]) -> dict[str, str]:
    """Command, versions, machine and commit of a session.  `config` is the sweep's effective configuration."""
    tags = {
        "gensweep.command": command_line(),
        "gensweep.versions": json.dumps(versions()),
        "gensweep.devices": devices(),
        "gensweep.world_size": str(config.get("resources", {}).get("workers", 1)),
        "gensweep.seed": str(config.get("search", {}).get("seed", config.get("base", {}).get("seed", 0))),
    }
    if loaded := plugins.loaded():
        tags[PLUGINS] = json.dumps({plugin.module: plugin.sha256 for plugin in loaded})
    if state is not None:
        tags |= {"gensweep.git_commit": state.commit, "gensweep.dirty": str(bool(state.diff)).lower()}
    return tags


def _git(folder: Path, *arguments: str) -> str | None:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
