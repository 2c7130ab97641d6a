"""Pictures as parts of a page that must stay small enough to be sent by mail."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from gensweep.report.templates import data_url
from gensweep.tracking.artifacts import sample_grid

if TYPE_CHECKING:
    from gensweep.report.ranked_trials import RankedTrial

#: Bytes of all pictures of a page: base64 makes 2.7 MB of them, and the page has 5 MB.
MAX_PICTURE_BYTES = 2_000_000
#: What is tried until the pictures fit: quality of WebP, and the share of the width and height that is kept.
LOOKS = ((90, 1.0), (75, 1.0), (75, 0.5), (60, 0.25))


class SampleTile(NamedTuple):
    """What a model draws, and its likely copies of training images beside these, as URLs."""

    entry: RankedTrial
    samples: str
    suspects: str | None


def sample_tiles(entries: Sequence[RankedTrial]) -> tuple[list[SampleTile], str | None]:
    """Pictures of trials, those without any left out, and one of real images, laid out like those of the first."""
    found: dict[str, bytes] = {}
    for entry in entries:
        for kind in ("samples", "suspects", "real"):
            wanted = kind != "real" or not any(name.startswith("real ") for name in found)
            if wanted and (data := sample_grid(entry.trial, kind)) is not None:
                found[f"{kind} {entry.trial.run_id}"] = data
    urls = picture_urls(found)
    real = next((url for name, url in urls.items() if name.startswith("real ")), None)
    tiles = [
        SampleTile(entry, url, urls.get(f"suspects {entry.trial.run_id}"))
        for entry in entries
        if (url := urls.get(f"samples {entry.trial.run_id}")) is not None
    ]
    return tiles, real


def picture_urls(pictures: Mapping[str, bytes], limit: int = MAX_PICTURE_BYTES) -> dict[str, str]:
    """PNG pictures as URLs, by name: as they are if all of them together fit, else in WebP and if need be smaller."""
    if sum(map(len, pictures.values())) <= limit:
        return {name: data_url("picture.png", data) for name, data in pictures.items()}
    shrunk: dict[str, bytes] = {}
    for quality, share in LOOKS:
        shrunk = {name: _webp(data, quality, share) for name, data in pictures.items()}
        if sum(map(len, shrunk.values())) <= limit:
            break
    return {name: data_url("picture.webp", data) for name, data in shrunk.items()}


def _webp(data: bytes, quality: int, share: float) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        smaller = picture.convert("RGB") if share == 1 else picture.convert("RGB").resize(size, Image.Resampling.BOX)
        smaller.save(file, "WEBP", quality=quality)
    return file.getvalue()
