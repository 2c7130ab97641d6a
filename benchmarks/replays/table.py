"""The tables of real trials in benchmarks/tables, as values; the README there describes the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from gensweep.config import SweepConfig, load_sweep

TABLES = Path(__file__).parents[1] / "tables"
NAMES = tuple(sorted(file.stem for file in TABLES.glob("*.yaml")))


@dataclass(frozen=True, eq=False)
class Training:
    """One training: what Optuna was asked for, what it ended as, and its curve, one number an evaluation."""

    configuration: str
    seed: int
    status: str
    error: str | None
    parameters: Mapping[str, Any]
    cost: Mapping[str, float]
    curve: Mapping[str, Sequence[float]]
    cpu: str
    commit: str

    @property
    def part(self) -> int:
        """The sweep of the table that it belongs to."""
        return int(self.configuration.partition("-")[0])


@dataclass(frozen=True)
class Table:
    """A table: what its first line says, and all trainings."""

    name: str
    heading: Mapping[str, Any]
    trainings: tuple[Training, ...]

    @cached_property
    def by_configuration(self) -> dict[str, list[Training]]:
        """The trainings of each configuration, one a seed."""
        found: dict[str, list[Training]] = {}
        for training in self.trainings:
            found.setdefault(training.configuration, []).append(training)
        return found


def file_of(name: str) -> Path:
    """Where a table lies."""
    return TABLES / f"{name}.jsonl"


@cache
def sweep_of(name: str) -> SweepConfig:
    """The sweep whose population a table holds."""
    return load_sweep(TABLES / f"{name}.yaml")


def load_table(name: str) -> Table:
    """A table, as far as it has been made: without a file it is empty."""
    lines = file_of(name).read_text().splitlines() if file_of(name).exists() else []
    heading, *rows = [json.loads(line) for line in lines] or [{}]
    return Table(name, heading, tuple(Training(**row) for row in rows))
