"""Where a result comes from: code, command, packages, machine; with everything secret taken out."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

#: The packages that shape a result.
PACKAGES = ("gensweep", "torch", "torchvision", "ray", "optuna", "mlflow", "pytorch-ignite", "numpy")
#: What stands in place of a secret.
HIDDEN = "***"
#: Characters of a change since the commit that are kept.
MAX_DIFF_LENGTH = 1_000_000

_NAME = r"(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|auth)"
_SECRET_NAME = re.compile(rf"(?i){_NAME}(?:[_-]?id)?$")
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), HIDDEN),
    (re.compile(r"(?P<keep>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@'\"]+@"), rf"\g<keep>{HIDDEN}@"),
    (re.compile(r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\g<keep>{HIDDEN}"),
    # --api-key VALUE, and name=value, name: value, "name": "value" for names that end like a secret's
    (re.compile(rf"(?i)(?P<keep>--?[\w.-]*{_NAME}\s+)(?:'[^']*'|\"[^\"]*\"|[^\s'\"-]\S*)"), rf"\g<keep>{HIDDEN}"),
    (
        re.compile(rf"(?i)(?P<keep>{_NAME}(?:[_-]?id)?['\"]?\s*[=:]\s*)(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s'\"&,;]+)"),
        rf"\g<keep>{HIDDEN}",
    ),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-|dapi)[A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), HIDDEN),
)


@dataclass(frozen=True)
class GitState:
    """The commit of the code, whether it was changed since, and the change."""

    commit: str
    dirty: bool
    diff: str


def redact(text: str) -> str:
    """Text with what looks like a secret replaced: URL credentials, tokens, values of secret-like names or variables.

    Idempotent.  Too much is hidden rather than too little.
    """
    for value in sorted(_secrets_of_environment(), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_tree(value: Any, name: str = "") -> Any:
    """A configuration with secrets replaced; numbers and booleans stay what they are."""
    if isinstance(value, Mapping):
        return {key: redact_tree(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_tree(item, name) for item in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if _SECRET_NAME.search(name) and value else redact(value)


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
    if state is not None:
        tags |= {
            "gensweep.git_commit": state.commit,
            "gensweep.dirty": str(state.dirty).lower(),
            "mlflow.source.git.commit": state.commit,
        }
    return tags


def _secrets_of_environment() -> set[str]:
    return {value for name, value in os.environ.items() if len(value) >= 8 and _SECRET_NAME.search(name)}


def _git(folder: Path, *arguments: str) -> str | None:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
