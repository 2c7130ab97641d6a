"""What switching units off did to images: rows, a verdict in words, and the section of the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gensweep.report.interpretation import file_words
from gensweep.report.page import Picture, Section
from gensweep.report.unit_pictures import agreement_picture, tiles_picture

if TYPE_CHECKING:
    from gensweep.assembly import Interventions
    from gensweep.interpret.intervention import Intervention, Lost

__all__ = ["intervention_csv", "intervention_rows", "intervention_section", "verdict"]


def intervention_rows(found: Sequence[Intervention], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class and change: the share of images that are taken for their class, and the mean score of it.

    Of images of this class, and under `others_` of the other ones.  What ends in `lost` is how much less that is than
    without the change, with its standard error over images of the same seeds.
    """
    from gensweep.interpret.intervention import lost

    rows = []
    for each in found:
        row: dict[str, Any] = {
            "class": names[each.label],
            "change": each.change,
            "units": each.units,
            "images": len(each.own.hits),
        }
        of_label = [other for other in found if other.label == each.label]
        for prefix, of in (("", each.own), ("others_", each.others)):
            whose: Literal["own", "others"] = "others" if prefix else "own"
            row[f"{prefix}agreement"] = float(of.hits.mean())
            less = lost(of_label, each.change, of=whose)
            row[f"{prefix}agreement_lost"], row[f"{prefix}agreement_lost_error"] = less
            row[f"{prefix}score"] = float(of.scores.mean())
            less = lost(of_label, each.change, of=whose, by="scores")
            row[f"{prefix}score_lost"], row[f"{prefix}score_lost_error"] = less
        rows.append(row)
    return rows


def intervention_csv(found: Sequence[Intervention], names: Sequence[str]) -> str:
    """The rows as a file."""
    file, rows = io.StringIO(), intervention_rows(found, names)
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def verdict(found: Sequence[Intervention]) -> str:
    """Whether the units found matter more for their label than random ones, either way, in numbers over all classes.

    The scores decide, as they are finer than the shares.
    """
    from gensweep.interpret.intervention import OFF, RANDOM, lost

    more = lost(found, OFF, than=RANDOM, by="scores")
    if more.mean > 2 * more.error:
        begin = "The units found matter"
    elif more.mean < -2 * more.error:
        begin = "The units found matter less than random ones"
    else:
        begin = "Not shown that the units found matter"
    off, random = (_words(lost(found, change, by="scores")) for change in (OFF, RANDOM))
    hits, random_hits = (_words(lost(found, change)) for change in (OFF, RANDOM))
    others = _words(lost(found, OFF, of="others", by="scores"))
    return (
        f"{begin}: without them the score of a class on its own images falls by {off}, without random units of the "
        f"same layers by {random}, a difference of {_words(more)}; the share that is taken for the class falls by "
        f"{hits} and {random_hits}. On images of other classes, without them, their score falls by {others}."
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
    words_of = file_words(names)
    for label in labels:
        images = torch.stack([each.images for each in found if each.label == label])
        shown = tiles_picture(images, list(CHANGES), [str(place) for place in range(images.shape[1])], "sample")
        caption = f"{names[label]}: the same seeds under every change"
        pictures.append(Picture(f"interventions-{words_of[label]}.png", caption, shown))
    words = (
        f"{verdict(found)} The units that a class raises most are switched off, or doubled, in all layers and at all "
        f"noise levels; '{RANDOM}' is as many other units of each of these layers, the mean over several draws. Who an "
        "image is taken for is said by a linear probe on the features that the run was judged by; of real images it "
        f"has not seen it takes {ceiling:.3f} for what they are. Its score of a class is about a probability. It takes "
        "noise and blanks for some class too, so look at the pictures. Standard errors are over classes, or over "
        "images in rows and if there are fewer than four classes. All numbers are in interventions.csv."
    )
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
    return Section("What becomes of images without these units", words, pictures, table)


def _words(lost: Lost) -> str:
    return f"{lost.mean:.3f} (standard error {lost.error:.3f})"


def _signed(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:+.2f} ± {row[key + '_error']:.2f}" if row["units"] else ""
