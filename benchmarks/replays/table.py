"""The sweeps whose trials are in benchmarks/tables."""

from __future__ import annotations

from functools import cache

from tables.load import TABLES

from gensweep.config import SweepConfig, load_sweep

NAMES = tuple(sorted(file.stem for file in TABLES.glob("*.yaml")))


@cache
def sweep_of(name: str) -> SweepConfig:
    """The sweep whose population a table holds."""
    return load_sweep(TABLES / f"{name}.yaml")
