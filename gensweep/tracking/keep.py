"""Which checkpoints of a sweep are worth keeping: those of the best k trials."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Change", "Keeper"]


@dataclass(frozen=True)
class Change:
    """What follows from one more result: checkpoints to keep (trial, folder) and to drop, the best before and after."""

    keep: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    former_best: str | None = None
    best: str | None = None
    value: float | None = None


class Keeper:
    """Remembers the objective of each ended trial in a file, so that a resumed sweep goes on ranking."""

    def __init__(self, file: Path, keep: int, mode: Literal["min", "max"]) -> None:
        self._file, self._keep, self._sign = file, keep, 1.0 if mode == "min" else -1.0
        stored = json.loads(file.read_text()) if file.exists() else {}
        self._results: dict[str, tuple[float, str | None]] = {
            k: (v[0], v[1]) for k, v in stored.get("results", {}).items()
        }
        self._kept: dict[str, str] = stored.get("kept", {})

    def ended(self, trial: str, value: float | None, folder: Path | None) -> Change:
        """Take in a trial's result.  Without a finite value the trial no longer counts."""
        former = self._ranking()[:1]
        if value is None or not math.isfinite(value):
            self._results.pop(trial, None)
        else:
            self._results[trial] = (value, None if folder is None else str(folder))
        ranking = self._ranking()
        wanted = {name: f for name in ranking if (f := self._results[name][1]) is not None}
        wanted = dict(list(wanted.items())[: self._keep])
        change = Change(
            keep=tuple((name, f) for name, f in wanted.items() if self._kept.get(name) != f),
            drop=tuple(name for name in self._kept if name not in wanted or self._kept[name] != wanted[name]),
            former_best=former[0] if former else None,
            best=ranking[0] if ranking else None,
            value=self._results[ranking[0]][0] if ranking else None,
        )
        self._kept = wanted
        self._save()
        return change

    def _ranking(self) -> list[str]:
        return sorted(self._results, key=lambda name: (self._sign * self._results[name][0], name))

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps({"results": self._results, "kept": self._kept}, indent=1))
        temporary.replace(self._file)
