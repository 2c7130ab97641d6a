"""Results of `gensweep interpret`: rows, and one HTML page with pictures and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gensweep.extras.interpret.activation_maps import SIGNIFICANCE_LEVEL, ActivationMap
from gensweep.extras.interpret.analysis import MAX_LABELS, Findings, LabelledModel, Trajectory
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
    pictures = {
        "units": _unit_pictures(units, shown, names),
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
        pictures=pictures,
        command=command,
    )
    files: dict[str, str | bytes] = {"index.html": page, "activation_map.csv": activation_map_csv(units, names)}
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
