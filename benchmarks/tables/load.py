"""Reads the tables of real trials with Python alone: copy it and a table.  README.md describes the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Training:
    """One training: its settings by name, how it ended, and its curve with one number for each evaluation."""

    configuration: str
    seed: int
    status: str
    error: str | None
    parameters: Mapping[str, Any]
    cost: Mapping[str, float]
    curve: Mapping[str, Sequence[float]]
    cpu: str
    commit: str


@dataclass(frozen=True)
class Table:
    """A table: its first line, and all trainings."""

    name: str
    heading: Mapping[str, Any]
    trainings: tuple[Training, ...]

    @cached_property
    def by_configuration(self) -> dict[str, list[Training]]:
        """The trainings of each configuration, one for each seed."""
        found: dict[str, list[Training]] = {}
        for training in self.trainings:
            found.setdefault(training.configuration, []).append(training)
        return found


def load_table(name: str) -> Table:
    """A table; without a file it is empty."""
    file = TABLES / f"{name}.jsonl"
    heading, *rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else [{}]
    return Table(name, heading, tuple(Training(**row) for row in rows))
