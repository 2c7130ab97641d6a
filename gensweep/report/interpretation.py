"""What was found inside a model: rows for people and programs, and the sections of its page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.report.page import Picture, Section, render_page, write_whole
from gensweep.report.unit_pictures import (
    animation,
    heated,
    labels_picture,
    level_word,
    tiles_picture,
    units_picture,
    where_picture,
)

if TYPE_CHECKING:
    from torch import Tensor

    from gensweep.assembly import Driven, Trajectory
    from gensweep.interpret.atlas import Atlas

__all__ = [
    "atlas_csv",
    "atlas_section",
    "driven_section",
    "file_words",
    "trajectory_section",
    "unit_rows",
    "write_interpretation",
]

HINT = "name another folder: --output DIR"
_SHOWN_LEVELS, _TOP = 8, 5


def write_interpretation(
    folder: Path,
    name: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    tables: Mapping[str, str],
    command: str,
) -> list[Path]:
    """Write index.html, every picture of it, and tables by file name, into a folder; returns the files.

    Raises GensweepError if they cannot be written.
    """
    title = f"A look inside {name}"
    words = "What its networks do with a label, found out by changing labels and units and nothing else."
    files: dict[str, str | bytes] = {"index.html": render_page(title, words, facts, sections, command), **tables}
    files |= {picture.file: picture.data for section in sections for picture in section.pictures}
    for file, content in files.items():
        write_whole(folder / file, content, HINT)
    return [folder / file for file in files]


def unit_rows(atlas: Atlas, labels: Sequence[int], names: Sequence[str], count: int) -> list[dict[str, Any]]:
    """The units that each label raises most.

    `effect` is the mean over noise levels, `effect_there` that at the `level` where the label does most; `p` is
    corrected for all units, labels and levels.
    """
    places = atlas.places()
    rows = []
    for label in labels:
        for unit in atlas.raised(label, count):
            place = places[unit.layer][unit.index]
            level = int(atlas.effect[:, label, place].argmax())
            rows.append(
                {
                    "class": names[label],
                    "layer": unit.layer,
                    "unit": unit.index,
                    "effect": float(atlas.overall(label)[place]),
                    "level": atlas.levels[level],
                    "effect_there": float(atlas.effect[level, label, place]),
                    "p": float(atlas.p[:, label, place].min()),
                }
            )
    return rows


def atlas_csv(atlas: Atlas, names: Sequence[str]) -> str:
    """A row for each unit and label: the mean effect, the smallest p, and the effect at each noise level."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    levels = [f"effect_at_{level:.6g}" for level in atlas.levels if level is not None]
    writer.writerow(["layer", "unit", "class", "effect", "p", *levels])
    overall, p = atlas.effect.mean(dim=0).tolist(), atlas.p.amin(dim=0).tolist()
    each = atlas.effect.tolist() if levels else []
    for place, unit in enumerate(atlas.units()):
        for label, name in enumerate(names):
            there = [f"{effect[label][place]:.4g}" for effect in each]
            writer.writerow(
                [unit.layer, unit.index, name, f"{overall[label][place]:.4g}", f"{p[label][place]:.4g}", *there]
            )
    return file.getvalue()


def atlas_section(atlas: Atlas, labels: Sequence[int], names: Sequence[str]) -> Section:
    """Which units react to which label."""
    from gensweep.interpret.atlas import ALPHA

    known = atlas.levels[0] is not None
    words = (
        "The effect of a label on a unit is the mean difference to the other labels on the same "
        + ("noisy images" if known else "latents")
        + ", in standard deviations of the unit. p is that of a test by sign flips, corrected for the number of "
        + ("units, labels and noise levels" if known else "units and labels")
        + f": {100 * float((atlas.p <= ALPHA).double().mean()):.0f} % of all cells have p of at most {ALPHA:g}. "
        + (
            ""
            if known
            else "A GAN draws an image in one go, so there are neither noise levels, nor a way to look at, "
            "nor an image to denoise. "
        )
        + "A unit is a channel that the layer reads. All of them are in atlas.csv."
    )
    pictures = [
        Picture("where.png", "Where labels act: layers in the order of the network", where_picture(atlas)),
        Picture("labels.png", "Which labels move the same units", labels_picture(atlas, names)),
    ]
    words_of = file_words(names)
    for label in labels:
        data = units_picture(atlas, label, names)
        if data is not None:
            caption = f"The units that {names[label]} raises most"
            pictures.append(Picture(f"units-{words_of[label]}.png", caption, data))
    rows = [
        {
            "unit": f"{row['layer']} #{row['unit']}",
            "class": row["class"],
            "effect": f"{row['effect']:.2f}",
            **({"largest at level": level_word(row["level"]), "there": f"{row['effect_there']:.2f}"} if known else {}),
            "p": f"{row['p']:.3g}",
        }
        for row in unit_rows(atlas, labels, names, _TOP)
    ]
    return Section("Which units react to a label", words, pictures, rows)


def trajectory_section(found: Trajectory, names: Sequence[str]) -> Section:
    """How an image comes to be under several labels, and where the network's attention lies."""
    import torch

    from gensweep.interpret.trajectory import evenly
    from gensweep.metrics.images import to_uint8

    words = (
        "The same noise under each label: what the network takes for the image at every noise level on the way down, "
        "and at the right what comes out."
    )
    path = evenly(list(found.path), _SHOWN_LEVELS)
    labels = [names[label] for label in found.labels]
    seen = [to_uint8(step.x_0).cpu() for step in path]
    levels = [level_word(step.sigma) for step in path]
    strip = tiles_picture(torch.stack([*seen, found.images], dim=1), labels, [*levels, "image"], "noise level")
    frames = [*(to_uint8(step.x_0).cpu() for step in found.path), found.images]
    pictures = [
        Picture("trajectory.png", "The image as it is seen at each noise level", strip),
        Picture("trajectory.gif", f"The same, all {len(found.path)} steps: {', '.join(labels)}", animation(frames)),
    ]
    if not found.path[0].attention:
        return Section("On the way from noise to image", f"{words} The network has no attention.", pictures)
    maps = [_finest(step.attention).cpu() for step in path]
    heat = torch.stack([heated(image, each) for image, each in zip(seen, maps, strict=True)], dim=1)
    caption = "Pixels that others attend to, in the mean over the heads of the layers of the highest resolution"
    pictures.append(Picture("attention.png", caption, tiles_picture(heat, labels, levels, "noise level")))
    return Section("On the way from noise to image", words, pictures)


def driven_section(found: Sequence[Driven], names: Sequence[str]) -> Section:
    """Images that drive the units which react to a label, and what the model makes of them."""
    import torch

    from gensweep.metrics.images import to_uint8

    parts: dict[str, Callable[[Driven], Tensor]] = {
        "made": lambda each: to_uint8(each.dream.image),
        "in its noise": lambda each: to_uint8((each.dream.noisy / (1 + each.level)).clamp(-1, 1)),
        "seen in it": lambda each: each.seen,
        "drawn from it": lambda each: each.drawn,
        "without it": lambda each: each.plain,
    }
    pictures, words_of = [], file_words(names)
    for label in dict.fromkeys(each.label for each in found):
        ours = [each for each in found if each.label == label]
        rows = [torch.cat([part(each).cpu() for part in parts.values()]) for each in ours]
        columns = [f"{part} ({seed})" for part in parts for seed in range(len(ours[0].seen))]
        names_of_rows = [f"{each.units} at {level_word(each.level)}" for each in ours]
        shown = tiles_picture(torch.stack(rows), names_of_rows, columns)
        pictures.append(Picture(f"driven-{words_of[label]}.png", f"For the units of {names[label]}", shown))
    words = (
        "Images made from faint noise so that, under noise of a level, they drive a layer's units in the direction "
        "that the label moves them, or one unit alone (#); smooth, small, and for no label. Then the model denoises "
        "them, without a label: what it sees in the noise at once, what its sampler draws from there, and what the "
        "same noise gives without the image. The drive is in standard deviations of the units, from grey to the image."
    )
    table = [
        {
            "units": each.units,
            "class": names[each.label],
            "level": level_word(each.level),
            "drive of grey": f"{float(each.dream.before.mean()):+.2f}",
            "drive of the image": f"{float(each.dream.after.mean()):+.2f}",
        }
        for each in found
    ]
    return Section("Images that these units ask for", words, pictures, table)


def _finest(attention: Mapping[str, Any]) -> Any:
    import torch

    most = max(each.shape[-1] for each in attention.values())
    return torch.stack([each for each in attention.values() if each.shape[-1] == most]).mean(dim=0)


def file_words(names: Sequence[str]) -> list[str]:
    """Names of classes as parts of files' names; with their numbers where they differ in other signs only."""
    words = ["".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name) for name in names]
    # Some file systems take upper and lower case for one.
    plain = [word.lower() for word in words]
    return [word if plain.count(word.lower()) == 1 else f"{word}-{label}" for label, word in enumerate(words)]
