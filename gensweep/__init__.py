"""gensweep compares image generators, and finds the one to train for your compute and its settings.

    import gensweep as gs

    gs.tune("quickstart")
    print(gs.compare().words)
    images = gs.load(gs.best().name).sample(16)

Each function corresponds to a command: see docs/output.md.  Importing gensweep imports none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gensweep.api.sweeps import resume as resume
    from gensweep.api.sweeps import retry as retry
    from gensweep.api.sweeps import train as train
    from gensweep.api.sweeps import tune as tune
    from gensweep.api.verdicts import Verdict as Verdict
    from gensweep.api.verdicts import best as best
    from gensweep.api.verdicts import compare as compare
    from gensweep.api.verdicts import load as load
    from gensweep.api.verdicts import trials as trials
    from gensweep.build.model import Model as Model
    from gensweep.config.sweep_config import Repeats as Repeats
    from gensweep.errors import ConfigError as ConfigError
    from gensweep.errors import GensweepError as GensweepError
    from gensweep.search.sweep_plan import SweepResult as SweepResult
    from gensweep.sweep.trial_state import TrialState as TrialState

__version__ = "1.0.0"

_MODULES = {
    **dict.fromkeys(("tune", "resume", "retry", "train"), "gensweep.api.sweeps"),
    **dict.fromkeys(("best", "compare", "load", "trials", "Verdict"), "gensweep.api.verdicts"),
    "Model": "gensweep.build.model",
    "Repeats": "gensweep.config.sweep_config",
    "SweepResult": "gensweep.search.sweep_plan",
    "TrialState": "gensweep.sweep.trial_state",
    **dict.fromkeys(("ConfigError", "GensweepError"), "gensweep.errors"),
}


__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if not name.startswith("_"):
        plugins = importlib.import_module("gensweep.plugins")
        if (entry := plugins.offered(plugins.FUNCTIONS).get(name)) is not None:
            return plugins.load_offered(entry)
    raise AttributeError(f"module 'gensweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
