"""gensweep tells which image generator to train, with which settings, for the compute at hand.

    import gensweep as gs

    gs.tune("quickstart")
    print(gs.compare().words)
    images = gs.load(gs.best().name).sample(16)

Each function is one command: see docs/python.md.  Importing gensweep imports none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gensweep.api.sweeps import resume, retry, train, tune
    from gensweep.api.verdicts import Verdict, best, compare, load, trials
    from gensweep.build.model import Model
    from gensweep.config.sweep_config import Repeats
    from gensweep.errors import ConfigError, GensweepError
    from gensweep.search.sweep_plan import SweepResult
    from gensweep.sweep.trial_state import TrialState

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "GensweepError",
    "Model",
    "Repeats",
    "SweepResult",
    "TrialState",
    "Verdict",
    "best",
    "compare",
    "load",
    "resume",
    "retry",
    "train",
    "trials",
    "tune",
]

_MODULES = {
    **dict.fromkeys(("tune", "resume", "retry", "train"), "gensweep.api.sweeps"),
    **dict.fromkeys(("best", "compare", "load", "trials", "Verdict"), "gensweep.api.verdicts"),
    "Model": "gensweep.build.model",
    "Repeats": "gensweep.config.sweep_config",
    "SweepResult": "gensweep.search.sweep_plan",
    "TrialState": "gensweep.sweep.trial_state",
    **dict.fromkeys(("ConfigError", "GensweepError"), "gensweep.errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gensweep' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
