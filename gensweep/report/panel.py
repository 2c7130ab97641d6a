"""Scores of the panel as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gensweep.metrics.panel import PANEL
from gensweep.results import BETTER, Score


def panel_rows(scores: Mapping[str, Score], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each measure with a score, with its standard error if known."""
    return [
        {
            "measure": measure.name,
            "kind": measure.kind if measure.votes else f"{measure.kind}, no vote",
            "value": score.value,
            "error": score.error,
            "better": BETTER[score.mode],
            "seconds": seconds[measure.name],
        }
        for measure in PANEL
        if (score := scores.get(measure.name)) is not None
    ]
