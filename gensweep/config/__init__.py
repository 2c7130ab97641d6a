"""Configurations: YAML and `--set` in, frozen and validated trials and sweeps out.

`loading` takes the steps in order: `yaml` reads a file into a `tree`, `overrides` puts `--set` and scales into it,
`schema` validates it against the `models` of signatures, and `checks` (of a trial) and `sweep_checks` (of a space) find
what is wrong between values.  Modules import only those that stand below them in pyproject.toml's contract.
"""

from __future__ import annotations

from gensweep.config.loading import is_sweep, load_base, load_sweep, load_trial, parse_overrides, scale_names
from gensweep.config.sweep_checks import checked_sweep
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.trial_config import TrialConfig

__all__ = [
    "SweepConfig",
    "TrialConfig",
    "checked_sweep",
    "is_sweep",
    "load_base",
    "load_sweep",
    "load_trial",
    "parse_overrides",
    "scale_names",
]
