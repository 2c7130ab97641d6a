"""What switching units off did to images: rows, a verdict in words, and the section of the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gensweep.report.interpretation import file_word
from gensweep.report.page import Picture, Section
from gensweep.report.unit_pictures import agreement_picture, tiles_picture

if TYPE_CHECKING:
    from gensweep.assembly import Interventions
    from gensweep.interpret.intervention import Intervention, Lost

__all__ = ["intervention_csv", "intervention_rows", "intervention_section", "verdict"]


def intervention_rows(found: Sequence[Intervention], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class and change: the share of images that are taken for their class, of this class and of others.

    `lost` is how much less than without the change, with its standard error over images of the same seeds.
    """
    from gensweep.interpret.intervention import lost

    rows = []
    for each in found:
        of_label = [other for other in found if other.label == each.label]
        own, others = lost(of_label, each.change), lost(of_label, each.change, others=True)
        rows.append(
            {
                "class": names[each.label],
                "change": each.change,
                "units": each.units,
                "images": len(each.own),
                "agreement": float(each.own.mean()),
                "lost": own.mean,
                "lost_error": own.error,
                "others": float(each.others.mean()),
                "others_lost": others.mean,
                "others_lost_error": others.error,
            }
        )
    return rows


def intervention_csv(found: Sequence[Intervention], names: Sequence[str]) -> str:
    """The rows as a file."""
    file, rows = io.StringIO(), intervention_rows(found, names)
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def verdict(found: Sequence[Intervention]) -> str:
    """Whether the units found matter more for their label than random ones, either way, in numbers over all classes."""
    from gensweep.interpret.intervention import OFF, RANDOM, lost

    off, random = lost(found, OFF), lost(found, RANDOM)
    more, others = lost(found, OFF, than=RANDOM), lost(found, OFF, others=True)
    if more.mean > 2 * more.error:
        begin = "The units found matter"
    elif more.mean < -2 * more.error:
        begin = "The units found matter less than random ones"
    else:
        begin = "Not shown that the units found matter"
    return (
        f"{begin}: without them {_words(off)} of a class's own images are no longer taken for it, without random units "
        f"of the same layers {_words(random)}, a difference of {_words(more)}; of the other classes' images, without "
        f"them, {_words(others)}."
    )


def intervention_section(result: Interventions, names: Sequence[str]) -> Section:
    """The test that the atlas means something."""
    import torch

    from gensweep.interpret.intervention import CHANGES, RANDOM

    found, ceiling = result.found, result.ceiling
    rows = intervention_rows(found, names)
    labels = list(dict.fromkeys(each.label for each in found))
    own = {
        names[label]: {row["change"]: row["agreement"] for row in rows if row["class"] == names[label]}
        for label in labels
    }
    pictures = [
        Picture("interventions.png", "Images taken for their class", agreement_picture(own, "agreement", ceiling))
    ]
    for label in labels:
        images = torch.stack([each.images for each in found if each.label == label])
        shown = tiles_picture(images, list(CHANGES), [str(place) for place in range(images.shape[1])], "sample")
        caption = f"{names[label]}: the same seeds under every change"
        pictures.append(Picture(f"interventions-{file_word(names[label])}.png", caption, shown))
    words = (
        f"{verdict(found)} The units that a class raises most are switched off, or doubled, in all layers and at all "
        f"noise levels; '{RANDOM}' is as many other units of each of these layers, the mean over several draws. Who an "
        "image is taken for is said by a linear probe on the features that the run was judged by; of real images it "
        f"has not seen it takes {ceiling:.3f} for what they are. All numbers are in interventions.csv."
    )
    table = [
        {
            "class": row["class"],
            "change": row["change"],
            "units": str(row["units"]),
            "agreement": f"{row['agreement']:.2f}",
            "lost": _signed(row["lost"], row["lost_error"], row["change"]),
            "of others": f"{row['others']:.2f}",
            "others lost": _signed(row["others_lost"], row["others_lost_error"], row["change"]),
        }
        for row in rows
    ]
    return Section("What becomes of images without these units", words, pictures, table)


def _words(lost: Lost) -> str:
    return f"{100 * lost.mean:.1f} % (standard error {100 * lost.error:.1f})"


def _signed(mean: float, error: float, change: str) -> str:
    from gensweep.interpret.intervention import AS_IT_IS

    return "" if change == AS_IT_IS else f"{mean:+.2f} ± {error:.2f}"
