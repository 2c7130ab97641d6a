"""Configurations: YAML and `--set` in, frozen and validated trials and sweeps out."""

from __future__ import annotations

from gensweep.config.loading import is_sweep, load_sweep, load_trial, parse_overrides, scale_names
from gensweep.config.sweep import SweepConfig
from gensweep.config.trial import TrialConfig

__all__ = ["SweepConfig", "TrialConfig", "is_sweep", "load_sweep", "load_trial", "parse_overrides", "scale_names"]
