"""Configurations: YAML and `--set` in, frozen and validated trials and sweeps out."""

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
