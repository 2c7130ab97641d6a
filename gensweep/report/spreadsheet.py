"""Comparisons and trials as CSV: the objects of the JSON, one a row, with the same columns in any order of trials.

Each row names every setting that any of the rows has; a trial whose branch lacks one has an empty cell there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from gensweep.config.tree import flatten
from gensweep.report.export import best_json, entry_json, trial_json
from gensweep.report.wording import further_words
from gensweep.results import Anchor, Identity

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial
    from gensweep.tracking.records import SweepRecord

#: The keys of an object whose own keys are not the same in all.
OPEN_KEYS = ("objectives", "params", "signals")
#: A setting that is null or an empty list, to tell it from one that a trial does not have.
NULL, NONE = "null", "none"


def comparison_sheet(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows of `best --compare --format csv`, best first."""
    return _aligned(_entry_row(entry_json(entry), entry) for entry in comparison.entries)


def best_sheet(comparison: Comparison, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The row of `best SWEEP --format csv`, with the whole configuration of the winner."""
    said = {key: _said(value) for key, value in flatten(config)}
    return _aligned([_entry_row(best_json(comparison.winner, said), comparison.winner)])


def trials_sheet(sweep: SweepRecord) -> list[dict[str, Any]]:
    """Rows of `trials SWEEP --format csv`, in order of the trials' names."""
    none = {each.name: None for each in fields(Identity)}
    return _aligned({**row, "identity": none | (row["identity"] or {})} for row in map(trial_json, sweep.trials))


def _entry_row(values: Mapping[str, Any], entry: RankedTrial) -> dict[str, Any]:
    low, high = entry.score.interval or (None, None)
    whole = {"interval": {"low": low, "high": high}, "identity": asdict(entry.score.identity)}
    for name, anchor in entry.score.anchors.as_dict().items():
        whole[name] = anchor or dict.fromkeys([*(each.name for each in fields(Anchor)), "low", "high"])
    rescored = entry.trial.rescored
    return {
        **values,
        "objective": values["objective"] | whole,
        "rescored": None if rescored is None else rescored.value,
        "further_scores": "; ".join(map(further_words, entry.trial.further_scores)),
    }


def _aligned(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    listed = list(rows)
    known = {open_key: sorted({key for row in listed for key in row[open_key]}) for open_key in OPEN_KEYS}
    return [{**row, **{name: _completed(row[name], keys) for name, keys in known.items()}} for row in listed]


def _completed(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: _said(values[key]) if key in values else None for key in keys}


def _said(value: Any) -> Any:
    """A setting that is given, but has nothing in it, as a word."""
    return NULL if value is None else NONE if value in ([], ()) else value
