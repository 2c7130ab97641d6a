"""What was found inside a model as rows and CSV, and the conclusion in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gensweep.extras.interpret.activation_maps import ActivationMap
from gensweep.extras.interpret.intervention import OFF, RANDOM_OFF, By, Drop, Intervention, Of, drop
from gensweep.report.output import csv_text

#: Units of each class in tables.
TOP_UNITS = 5
#: What rows of interventions say of images of the class itself, and of others.
MEASURES: Mapping[str, tuple[Of, By]] = {
    "agreement": ("own", "hits"),
    "score": ("own", "scores"),
    "others_agreement": ("others", "hits"),
    "others_score": ("others", "scores"),
}


def unit_rows(found: ActivationMap, labels: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """The units that each label raises most.

    `effect` is the mean over noise levels, `effect_there` that at the `level` where the label does most; `p` is
    corrected for all units, labels and levels.
    """
    columns = found.columns()
    rows = []
    for label in labels:
        for unit in found.raised_units(label, TOP_UNITS):
            column = columns[unit.layer][unit.index]
            level = int(found.effect[:, label, column].argmax())
            noise = found.levels[level]
            rows.append(
                {
                    "class": names[label],
                    "layer": unit.layer,
                    "unit": unit.index,
                    "effect": float(found.mean_effect(label)[column]),
                    "level": None if noise is None else float(noise),  # plain, as rows travel between machines
                    "effect_there": float(found.effect[level, label, column]),
                    "p": float(found.p[:, label, column].min()),
                }
            )
    return rows


def activation_map_csv(found: ActivationMap, names: Sequence[str]) -> str:
    """A row for each unit and label: the mean effect, the smallest p, and the effect at each noise level."""
    numbers = {"effect": found.effect.mean(dim=0).tolist(), "p": found.p.amin(dim=0).tolist()} | {
        f"effect_at_{level:.6g}": effect.tolist()
        for level, effect in zip(found.levels, found.effect, strict=True)
        if level is not None
    }
    return csv_text(
        [
            {"layer": unit.layer, "unit": unit.index, "class": name}
            | {key: f"{values[label][column]:.4g}" for key, values in numbers.items()}
            for column, unit in enumerate(found.units())
            for label, name in enumerate(names)
        ]
    )


def intervention_rows(found: Sequence[Intervention], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class and change: the share of images that are taken for their class, and its mean score.

    Of images of this class, and under `others_` of the other ones.  What ends in `lost` is the difference to the images
    without the change, with its standard error over images of the same seeds.
    """
    rows = []
    for each in found:
        row = {"class": names[each.label], "change": each.change, "units": each.units, "images": len(each.own.hits)}
        of_label = [other for other in found if other.label == each.label]
        for key, (of, by) in MEASURES.items():
            row[key] = float(each.values(of, by).mean())
            row[f"{key}_lost"], row[f"{key}_lost_error"] = drop(of_label, each.change, of=of, by=by)
        rows.append(row)
    return rows


def conclusion(found: Sequence[Intervention]) -> str:
    """Whether the units found matter more for their label than random ones, either way, in numbers over all classes.

    The scores decide, as they are finer than the shares.
    """
    more = drop(found, OFF, relative_to=RANDOM_OFF, by="scores")
    if more.mean > 2 * more.error:
        begin = "The units found matter"
    elif more.mean < -2 * more.error:
        begin = "The units found matter less than random ones"
    else:
        begin = "Not shown that the units found matter"
    off, random = (_with_error(drop(found, change, by="scores")) for change in (OFF, RANDOM_OFF))
    hits, random_hits = (_with_error(drop(found, change)) for change in (OFF, RANDOM_OFF))
    others, random_others = (_with_error(drop(found, change, of="others", by="scores")) for change in (OFF, RANDOM_OFF))
    return (
        f"{begin}: without them the score of a class on its own images falls by {off}, without random units of the "
        f"same layers by {random}, a difference of {_with_error(more)}; the share that is taken for the class falls by "
        f"{hits} and {random_hits}. On images of other classes their score falls by {others} and {random_others}."
    )


def _with_error(drop: Drop) -> str:
    return f"{drop.mean:.3f} (standard error {drop.error:.3f})"
