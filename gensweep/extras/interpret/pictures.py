"""Pictures of how a network uses labels, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gensweep.extras.interpret.activation_maps import ActivationMap

_PICTURED_UNITS = 24
#: White pixels between tiles.
_GAP = 2
_DPI = 110


def level_word(level: float | None) -> str:
    """Format a noise level."""
    if level is None:
        return ""
    return f"{level:,.0f}" if level >= 100 else f"{level:.2g}"


def layers_picture(found: ActivationMap) -> bytes:
    """Layers by noise levels: the mean effect size over a layer's units and all labels."""
    size = found.effect.abs().mean(dim=1)
    rows = [layer.mean(dim=1).tolist() for layer in torch.split(size, [*found.widths.values()], dim=1)]
    with _figure(2.6 + 0.45 * len(found.levels), max(1.8, 1.0 + 0.16 * len(rows))) as (figure, png):
        axes = figure.subplots()
        drawn = axes.imshow(np.array(rows), aspect="auto", cmap="viridis", vmin=0)
        _level_ticks(axes, found, list(found.widths))
        figure.colorbar(drawn, ax=axes, label="mean |effect|", shrink=0.5)
    return png.getvalue()


def units_picture(found: ActivationMap, label: int, names: Sequence[str]) -> bytes | None:
    """The units that a label raises most, by noise level and under the other labels; None if there are none."""
    units = found.raised_units(label, _PICTURED_UNITS)
    if not units:
        return None
    index = [found.units.index(unit) for unit in units]
    by_level = found.effect[:, label, index].T.numpy()
    by_label = found.effect.mean(dim=0)[:, index].T.numpy()
    ratios = [max(2, by_level.shape[1]), by_label.shape[1]]
    with _figure(3.4 + 0.36 * sum(ratios), max(1.8, 1.1 + 0.17 * len(units))) as (figure, png):
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
        style: Any = {"aspect": "auto", "cmap": "RdBu_r", "vmin": -2.5, "vmax": 2.5}
        left.imshow(by_level, **style)
        drawn = right.imshow(by_label, **style)
        _level_ticks(left, found, [f"{unit.layer} #{unit.index}" for unit in units])
        right.set_xticks(range(len(names)), names, rotation=90)
        _bare(right)
        left.set_title(f"under {names[label]}", fontsize=9)
        right.set_title("mean over levels, by label" if len(found.levels) > 1 else "by label", fontsize=9)
        figure.colorbar(drawn, ax=right, label="effect", shrink=0.6)
    return png.getvalue()


def tiles_picture(
    images: UInt8[Tensor, "rows columns c h w"], rows: Sequence[str], columns: Sequence[str], x: str = ""
) -> bytes:
    """A table of images with row and column labels."""
    size = images.shape[-1] + _GAP
    with _figure(1.6 + 0.62 * len(columns), 0.8 + 0.62 * len(rows)) as (figure, png):
        axes = figure.subplots()
        axes.imshow(_tiled(images.expand(-1, -1, 3, -1, -1).numpy()), interpolation="nearest")
        axes.set_xticks([size * (column + 0.5) for column in range(len(columns))], columns, rotation=90)
        axes.set_yticks([size * (row + 0.5) for row in range(len(rows))], rows)
        axes.set_xlabel(x)
        _bare(axes)
    return png.getvalue()


def _tiled(images: UInt8[np.ndarray, "rows columns 3 h w"]) -> UInt8[np.ndarray, "height width 3"]:
    """One picture, with white between the images."""
    framed = np.pad(images, [(0, 0)] * 3 + [(_GAP // 2, _GAP // 2)] * 2, constant_values=255)
    r, k, _, h, w = framed.shape
    return framed.transpose(0, 3, 1, 4, 2).reshape(r * h, k * w, 3)


def _level_ticks(axes: Axes, found: ActivationMap, rows: Sequence[str]) -> None:
    axes.set_xticks(range(len(found.levels)), [level_word(level) for level in found.levels], rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("noise level" if found.levels[0] is not None else "")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=7.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, io.BytesIO]]:
    # User names are never TeX.
    with mpl.rc_context({"text.parse_math": False, "font.size": 8.5}):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=_DPI)
        file = io.BytesIO()
        yield figure, file
        figure.savefig(file, format="png", metadata={"Software": None})
