"""Results of `gensweep interpret`: rows, a conclusion, and one HTML page with pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gensweep.extras.interpret.activation_maps import SIGNIFICANCE_LEVEL, ActivationMap
from gensweep.extras.interpret.analysis import MAX_LABELS, Findings, LabelledModel, Trajectory
from gensweep.extras.interpret.intervention import CHANGES, OFF, RANDOM_OFF, Drop, Intervention, drop
from gensweep.extras.interpret.pictures import layers_picture, level_word, tiles_picture, units_picture
from gensweep.extras.interpret.recording import evenly_spaced
from gensweep.metrics.extractors import to_uint8
from gensweep.report.html import data_url, environment, write_whole
from gensweep.report.output import csv_text

#: Units per class in tables.
TOP_UNITS = 5
#: Noise levels in the strip of a trajectory.
SHOWN_LEVELS = 8


class PagePicture(NamedTuple):
    """A PNG picture with its file name and caption."""

    file: str
    caption: str
    data: bytes


def write_page(
    folder: Path, name: str, labelled: LabelledModel, found: Findings, settings: Mapping[str, int], command: str
) -> None:
    """Write index.html, its pictures and tables to a folder.  Raises GensweepError if that fails."""
    names, units, shown = labelled.model.class_names, found.activation_map, labelled.labels[:MAX_LABELS]
    changes = intervention_rows(found.interventions, names)
    pictures = {
        "units": _unit_pictures(units, shown, names),
        "interventions": _intervention_pictures(found.interventions, names),
        "trajectory": _trajectory_pictures(found.trajectory, names),
    }
    facts = {"units": sum(units.widths.values()), "layers": len(units.widths), "classes": len(names), **settings}
    page = render_page(
        title=f"A look inside {name}",
        facts={fact: f"{value:,}" for fact, value in facts.items()} | {"weights": labelled.model.weights},
        levels=units.levels[0] is not None,
        significant=100 * float((units.p <= SIGNIFICANCE_LEVEL).double().mean()),
        limit=SIGNIFICANCE_LEVEL,
        units=unit_rows(units, shown, names),
        interventions=changes,
        conclusion=conclusion(found.interventions) if changes else "",
        random=RANDOM_OFF,
        ceiling=found.ceiling,
        pictures=pictures,
        command=command,
    )
    files: dict[str, str | bytes] = {"index.html": page, "activation_map.csv": activation_map_csv(units, names)}
    if changes:
        files["interventions.csv"] = csv_text(changes)
    files |= {picture.file: picture.data for part in pictures.values() for picture in part}
    for file, content in files.items():
        write_whole(folder / file, content, "name another folder: --output DIR")


def render_page(**parts: Any) -> str:
    """The page as text with embedded pictures.  User input is escaped."""
    template = environment("gensweep.extras.interpret").get_template("page.html.j2")
    return template.render(**parts, data_url=data_url, level_word=level_word)


def _unit_pictures(found: ActivationMap, labels: Sequence[int], names: Sequence[str]) -> list[PagePicture]:
    pictures = [PagePicture("where.png", "Where labels act: layers in the order of the network", layers_picture(found))]
    for label in labels:
        if (data := units_picture(found, label, names)) is not None:
            caption = f"Units that {names[label]} raises most"
            pictures.append(PagePicture(f"units-{label}.png", caption, data))
    return pictures


def _intervention_pictures(found: Sequence[Intervention], names: Sequence[str]) -> list[PagePicture]:
    pictures = []
    for label in dict.fromkeys(each.label for each in found):
        images = torch.stack([each.images for each in found if each.label == label])
        shown = tiles_picture(images, list(CHANGES), [str(sample) for sample in range(images.shape[1])], "sample")
        caption = f"{names[label]}: the same seeds under every change"
        pictures.append(PagePicture(f"interventions-{label}.png", caption, shown))
    return pictures


def _trajectory_pictures(found: Trajectory | None, names: Sequence[str]) -> list[PagePicture]:
    if found is None:
        return []
    path, labels = evenly_spaced(found.path, SHOWN_LEVELS), [names[label] for label in found.labels]
    predicted, levels = [to_uint8(step.x_0).cpu() for step in path], [level_word(step.sigma) for step in path]
    strip = tiles_picture(torch.stack([*predicted, found.images], dim=1), labels, [*levels, "image"], "noise level")
    return [PagePicture("trajectory.png", "The image predicted at each noise level", strip)]


def unit_rows(found: ActivationMap, labels: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """Units that each label raises most.

    `effect` is the mean over noise levels, `effect_there` the one at the `level` with the largest effect; `p` is
    corrected for all units, labels and levels.
    """
    rows = []
    for label in labels:
        for unit in found.raised_units(label, TOP_UNITS):
            column = found.units.index(unit)
            level = int(found.effect[:, label, column].argmax())
            noise = found.levels[level]
            rows.append(
                {
                    "class": names[label],
                    "layer": unit.layer,
                    "unit": unit.index,
                    "effect": float(found.effect[:, label, column].mean()),
                    "level": None if noise is None else float(noise),  # plain, as rows travel between machines
                    "effect_there": float(found.effect[level, label, column]),
                    "p": float(found.p[:, label, column].min()),
                }
            )
    return rows


def activation_map_csv(found: ActivationMap, names: Sequence[str]) -> str:
    """A row per unit and label: the mean effect, the smallest p, and the effect at each noise level."""
    numbers = {"effect": found.effect.mean(dim=0).tolist(), "p": found.p.amin(dim=0).tolist()} | {
        f"effect_at_{level:.6g}": effect.tolist()
        for level, effect in zip(found.levels, found.effect, strict=True)
        if level is not None
    }
    return csv_text(
        [
            {"layer": unit.layer, "unit": unit.index, "class": name}
            | {key: f"{values[label][column]:.4g}" for key, values in numbers.items()}
            for column, unit in enumerate(found.units)
            for label, name in enumerate(names)
        ]
    )


def intervention_rows(found: Sequence[Intervention], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row per class and change: the share of images classified as their class, and its mean score.

    Columns are for images of this class and, with `others_`, of the other ones.  Columns ending in `lost` are the
    difference from the unchanged images, with its standard error over images of the same seeds.
    """
    rows = []
    for each in found:
        row: dict[str, Any] = {"class": names[each.label], "change": each.change, "units": each.units}
        row["images"] = len(each.measures["score"])
        of_label = [other for other in found if other.label == each.label]
        for measure, values in each.measures.items():
            row[measure] = float(values.mean())
            row[f"{measure}_lost"], row[f"{measure}_lost_error"] = drop(of_label, each.change, measure)
        rows.append(row)
    return rows


def conclusion(found: Sequence[Intervention]) -> str:
    """Whether the units matter more for their label than random ones, with numbers over all classes.

    Scores decide, as they are finer than shares.
    """
    more = drop(found, OFF, "score", relative_to=RANDOM_OFF)
    if more.mean > 2 * more.error:
        begin = "The units found matter"
    elif more.mean < -2 * more.error:
        begin = "The units found matter less than random ones"
    else:
        begin = "Not shown that the units found matter"

    def lost(change: str, measure: str) -> str:
        return _with_error(drop(found, change, measure))

    return (
        f"{begin}: without them the score of a class on its own images falls by {lost(OFF, 'score')}, without random "
        f"units of the same layers by {lost(RANDOM_OFF, 'score')}, a difference of {_with_error(more)}; the share "
        f"classified as the class falls by {lost(OFF, 'agreement')} and {lost(RANDOM_OFF, 'agreement')}. On images of "
        f"other classes their score falls by {lost(OFF, 'others_score')} and {lost(RANDOM_OFF, 'others_score')}."
    )


def _with_error(drop: Drop) -> str:
    return f"{drop.mean:.3f} (standard error {drop.error:.3f})"
