"""Copies of the code of a sweep's plug-ins, stored by hash in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gensweep import plugins
from gensweep.config.trial_config import written_plugins
from gensweep.errors import ConfigError
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder

#: The tag of a session with the hash of each plug-in's code, as JSON.
PLUGINS = "gensweep.plugins"
#: Digits of a hash in messages and in folder names.
SHORT_HASH = 12


def install_kept_plugins(folder: SweepFolder) -> list[str]:
    """Import the plug-ins that a sweep last used and this machine lacks, from the copies in the sweep's folder.

    Returns their modules.  Raises ConfigError if a copy is missing or changed.
    """
    sessions, installed = folder.state().sessions, list[str]()
    recorded = json.loads(sessions[-1].tags.get(PLUGINS, "{}")) if sessions else {}
    written = {plugins.module_of(name): name for name in written_plugins(folder.settings.get("sweep", {}))}
    for module, sha256 in recorded.items():
        if plugins.is_here(written.get(module, module)):
            continue
        copy = folder.path / PLUGINS_FOLDER / sha256[:SHORT_HASH]
        files = {file.relative_to(copy).as_posix(): file.read_bytes() for file in copy.rglob("*") if file.is_file()}
        plugin = plugins.Plugin(module, module, files)
        if plugin.sha256 != sha256:
            what = "has changed" if files else "is missing"
            raise ConfigError(
                f"plug-in {module}: it is not installed, and its copy in {copy} {what}; copy its code here and "
                "name it with --import"
            )
        plugin.install()
        installed.append(module)
    return installed


def changed_plugins(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Warnings about plug-ins whose code changed between two sessions, from their tags."""
    old, new = (json.loads(tags.get(PLUGINS, "{}")) for tags in (before, now))
    return [
        f"the code of the plug-in {module} has changed since the sweep last ran ({old[module][:SHORT_HASH]} then, "
        f"{new[module][:SHORT_HASH]} now); training continues with the new code"
        for module in old
        if module in new and old[module] != new[module]
    ]
