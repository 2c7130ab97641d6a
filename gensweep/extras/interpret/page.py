"""What `gensweep interpret` has found: rows, a conclusion in words, and one HTML page with its pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
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

#: Units of each class in tables.
TOP_UNITS = 5
#: Noise levels in the strip of a trajectory.
SHOWN_LEVELS = 8


class PagePicture(NamedTuple):
    """A PNG picture under its file's name, and what it shows."""

    file: str
    caption: str
    data: bytes


class PageSection(NamedTuple):
    """A part of a page: pictures, rows that have the same keys, the first of which has words as values, and `words`,
    what its text in the template names.
    """

    pictures: Sequence[PagePicture] = ()
    rows: Sequence[Mapping[str, str]] = ()
    words: Mapping[str, Any] = MappingProxyType({})


def write_page(
    folder: Path, name: str, labelled: LabelledModel, found: Findings, settings: Mapping[str, int], command: str
) -> None:
    """Write index.html, every picture of it, and tables, into a folder.  Raises GensweepError if that fails."""
    names, widths = labelled.model.class_names, found.activation_map.widths
    sections = {"activation_map": _activation_section(found.activation_map, labelled.labels[:MAX_LABELS], names)}
    files: dict[str, str | bytes] = {"activation_map.csv": activation_map_csv(found.activation_map, names)}
    if found.interventions:
        sections["interventions"] = _intervention_section(found.interventions, found.ceiling, names)
        files["interventions.csv"] = csv_text(intervention_rows(found.interventions, names))
    if found.trajectory is not None:
        sections["trajectory"] = _trajectory_section(found.trajectory, names)
    facts = {"units": sum(widths.values()), "layers": len(widths), "classes": len(names), **settings}
    shown = {fact: f"{value:,}" for fact, value in facts.items()} | {"weights": labelled.model.weights}
    files["index.html"] = render_page(f"A look inside {name}", shown, sections, command)
    files |= {picture.file: picture.data for section in sections.values() for picture in section.pictures}
    for file, content in files.items():
        write_whole(folder / file, content, "name another folder: --output DIR")


def render_page(title: str, facts: Mapping[str, str], sections: Mapping[str, PageSection], command: str) -> str:
    """The page as text, with its pictures inside; sections are known by name.  Whatever users named is escaped."""
    template = environment("gensweep.extras.interpret").get_template("page.html.j2")
    return template.render(title=title, facts=facts, sections=sections, command=command, data_url=data_url)


def _activation_section(found: ActivationMap, labels: Sequence[int], names: Sequence[str]) -> PageSection:
    with_levels = found.levels[0] is not None
    pictures = [PagePicture("where.png", "Where labels act: layers in the order of the network", layers_picture(found))]
    for label in labels:
        if (data := units_picture(found, label, names)) is not None:
            caption = f"The units that {names[label]} raises most"
            pictures.append(PagePicture(f"units-{label}.png", caption, data))
    table = []
    for row in unit_rows(found, labels, names):
        cells = {"unit": f"{row['layer']} #{row['unit']}", "class": row["class"], "effect": f"{row['effect']:.2f}"}
        if with_levels:
            cells |= {"largest at level": level_word(row["level"]), "there": f"{row['effect_there']:.2f}"}
        table.append(cells | {"p": f"{row['p']:.3g}"})
    significant = 100 * float((found.p <= SIGNIFICANCE_LEVEL).double().mean())
    words = {"levels": with_levels, "significant": significant, "limit": SIGNIFICANCE_LEVEL}
    return PageSection(pictures, table, words)


def _intervention_section(found: Sequence[Intervention], ceiling: float, names: Sequence[str]) -> PageSection:
    rows = intervention_rows(found, names)
    pictures = []
    for label in dict.fromkeys(each.label for each in found):
        images = torch.stack([each.images for each in found if each.label == label])
        shown = tiles_picture(images, list(CHANGES), [str(sample) for sample in range(images.shape[1])], "sample")
        caption = f"{names[label]}: the same seeds under every change"
        pictures.append(PagePicture(f"interventions-{label}.png", caption, shown))
    table = [
        {
            "class": row["class"],
            "change": row["change"],
            "units": str(row["units"]),
            "agreement": f"{row['agreement']:.2f}",
            "score": f"{row['score']:.2f}",
            "score lost": _signed(row, "score_lost"),
            "others' score": f"{row['others_score']:.2f}",
            "lost there": _signed(row, "others_score_lost"),
        }
        for row in rows
    ]
    return PageSection(pictures, table, {"conclusion": conclusion(found), "random": RANDOM_OFF, "ceiling": ceiling})


def _trajectory_section(found: Trajectory, names: Sequence[str]) -> PageSection:
    path, labels = evenly_spaced(found.path, SHOWN_LEVELS), [names[label] for label in found.labels]
    predicted, levels = [to_uint8(step.x_0).cpu() for step in path], [level_word(step.sigma) for step in path]
    strip = tiles_picture(torch.stack([*predicted, found.images], dim=1), labels, [*levels, "image"], "noise level")
    return PageSection([PagePicture("trajectory.png", "The image predicted at each noise level", strip)])


def _signed(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:+.2f} ± {row[key + '_error']:.2f}" if row["units"] else ""


def unit_rows(found: ActivationMap, labels: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """The units that each label raises most.

    `effect` is the mean over noise levels, `effect_there` that at the `level` where the label does most; `p` is
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
            for column, unit in enumerate(found.units)
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
        row: dict[str, Any] = {"class": names[each.label], "change": each.change, "units": each.units}
        row["images"] = len(each.measures["score"])
        of_label = [other for other in found if other.label == each.label]
        for measure, values in each.measures.items():
            row[measure] = float(values.mean())
            row[f"{measure}_lost"], row[f"{measure}_lost_error"] = drop(of_label, each.change, measure)
        rows.append(row)
    return rows


def conclusion(found: Sequence[Intervention]) -> str:
    """Whether the units found matter more for their label than random ones, either way, in numbers over all classes.

    The scores decide, as they are finer than the shares.
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
        f"units of the same layers by {lost(RANDOM_OFF, 'score')}, a difference of {_with_error(more)}; the share that "
        f"is taken for the class falls by {lost(OFF, 'agreement')} and {lost(RANDOM_OFF, 'agreement')}. On images of "
        f"other classes their score falls by {lost(OFF, 'others_score')} and {lost(RANDOM_OFF, 'others_score')}."
    )


def _with_error(drop: Drop) -> str:
    return f"{drop.mean:.3f} (standard error {drop.error:.3f})"
