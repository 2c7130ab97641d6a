"""The code of a sweep's plug-ins, of which its folder keeps copies by hash."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gensweep import plugins
from gensweep.config.trial_config import written_plugins
from gensweep.errors import ConfigError
from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder

#: The tag of a session that holds the hash of the code of each plug-in, as JSON.
PLUGINS = "gensweep.plugins"
#: Digits of a hash that are shown to people, and that name the folder of a plug-in's code.
SHORT_HASH = 12


def install_kept_plugins(folder: SweepFolder) -> list[str]:
    """Import the plug-ins with which a sweep last ran and that this machine lacks, from the copies in its folder.

    Returns their modules.  Raises ConfigError if a copy is missing or not what was recorded.
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
