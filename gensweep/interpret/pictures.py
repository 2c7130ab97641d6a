"""Pictures of what a network does with labels, as PNG and GIF."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from gensweep.interpret.activation_maps import ActivationMap

_PICTURED_UNITS = 24
#: White pixels between tiles.
_GAP = 2
#: An image in an animation is enlarged to about this many pixels.
_FRAME_PIXELS = 64
#: Milliseconds for which a frame stays.
_FRAME_MS = 150
#: The same for the last frame.
_LAST_FRAME_MS = 1500
_DPI = 110
_BARS = ("#2f6db3", "#d0662a", "#b9c4d0", "#2b8a6e")


def level_word(level: float | None) -> str:
    """A noise level as people read it."""
    if level is None:
        return ""
    return f"{level:,.0f}" if level >= 100 else f"{level:.2g}"


def layers_picture(found: ActivationMap) -> bytes:
    """Layers by noise levels: the mean size of effects over a layer's units and all labels."""
    size = found.effect.abs().mean(dim=1)
    rows = [size[:, each].mean(dim=1).tolist() for each in found.columns().values()]
    with _figure(2.6 + 0.45 * len(found.levels), max(1.8, 1.0 + 0.16 * len(rows))) as (figure, png):
        axes = figure.subplots()
        drawn = axes.imshow(np.array(rows), aspect="auto", cmap="viridis", vmin=0)
        _level_ticks(axes, found, list(found.widths))
        figure.colorbar(drawn, ax=axes, label="mean |effect|", shrink=0.5)
    return png.getvalue()


def units_picture(found: ActivationMap, label: int, names: Sequence[str]) -> bytes | None:
    """The units that a label raises most: by noise level, and under the other labels; None if there are none."""
    units = found.raised_units(label, _PICTURED_UNITS)
    if not units:
        return None
    columns = found.columns()
    index = [columns[unit.layer][unit.index] for unit in units]
    by_level = found.effect[:, label, index].T.numpy()
    by_label = found.effect.mean(dim=0)[:, index].T.numpy()
    ratios = [max(2, by_level.shape[1]), by_label.shape[1]]
    with _figure(3.4 + 0.36 * sum(ratios), max(1.8, 1.1 + 0.17 * len(units))) as (figure, png):
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
        style: Any = {"aspect": "auto", "cmap": "RdBu_r", "vmin": -2.5, "vmax": 2.5}
        left.imshow(by_level, **style)
        drawn = right.imshow(by_label, **style)
        _level_ticks(left, found, [f"{unit.layer} #{unit.index}" for unit in units])
        _ticks(right, names)
        left.set_title(f"under {names[label]}", fontsize=9)
        right.set_title("mean over levels, by label" if len(found.levels) > 1 else "by label", fontsize=9)
        figure.colorbar(drawn, ax=right, label="effect", shrink=0.6)
    return png.getvalue()


def labels_picture(found: ActivationMap, names: Sequence[str]) -> bytes:
    """Which labels move the same units: correlations of their effects."""
    effects = found.effect.transpose(0, 1).flatten(1).numpy()
    moved = effects[:, np.abs(effects).max(axis=0) > 0]
    correlation = np.corrcoef(moved) if moved.size else np.eye(len(names))
    side = 1.9 + 0.3 * len(names)
    with _figure(side + 0.8, side) as (figure, png):
        axes = figure.subplots()
        drawn = axes.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1)
        _ticks(axes, names, names)
        figure.colorbar(drawn, ax=axes, label="correlation of effects", shrink=0.7)
    return png.getvalue()


def tiles_picture(
    images: UInt8[Tensor, "rows columns c h w"], rows: Sequence[str], columns: Sequence[str], x: str = ""
) -> bytes:
    """Images beside each other, with words at rows and columns."""
    size = images.shape[-1] + _GAP
    with _figure(1.6 + 0.62 * len(columns), 0.8 + 0.62 * len(rows)) as (figure, png):
        axes = figure.subplots()
        axes.imshow(_tiled(images.expand(-1, -1, 3, -1, -1).numpy()), interpolation="nearest")
        axes.set_xticks([size * (column + 0.5) for column in range(len(columns))], columns, rotation=90)
        axes.set_yticks([size * (row + 0.5) for row in range(len(rows))], rows)
        axes.set_xlabel(x)
        _bare(axes)
    return png.getvalue()


def recognition_picture(groups: Mapping[str, Mapping[str, float]], title: str, ceiling: float) -> bytes:
    """Bars from 0 to 1: for each class, one for each change; the classifier's accuracy on real images as a line."""
    changes = list(next(iter(groups.values())))
    width = 0.8 / len(changes)
    with _figure(2.2 + 0.55 * len(groups), 2.9) as (figure, png):
        axes = figure.subplots()
        for bar, change in enumerate(changes):
            heights = [shares[change] for shares in groups.values()]
            where = np.arange(len(groups)) + (bar - (len(changes) - 1) / 2) * width
            axes.bar(where, heights, width * 0.92, label=change, color=_BARS[bar % len(_BARS)])
        axes.axhline(ceiling, color="#63686e", linewidth=0.8, linestyle=(0, (4, 3)), label="real images")
        axes.set_xticks(range(len(groups)), list(groups), rotation=90 if len(groups) > 4 else 0)
        axes.set_ylim(0, 1)
        axes.set_ylabel(title)
        _bare(axes)
        figure.legend(loc="outside right upper", frameon=False)
    return png.getvalue()


def heated(images: UInt8[Tensor, "n c h w"], maps: Float[Tensor, "n i j"]) -> UInt8[Tensor, "n 3 h w"]:
    """Images in grey, warm where a map, whose mean is 1, is high."""
    large = torch.nn.functional.interpolate(maps[:, None].float(), size=images.shape[-2:], mode="bilinear")[:, 0]
    warm = torch.from_numpy(mpl.colormaps["inferno"]((large / 3).clamp(0, 1).numpy())[..., :3]).permute(0, 3, 1, 2)
    grey = images.float().mean(dim=1, keepdim=True) / 255
    return ((0.35 * grey + 0.65 * warm) * 255).round().to(torch.uint8)


def animation(frames: Sequence[UInt8[Tensor, "n c h w"]]) -> bytes:
    """A GIF whose frames are rows of images."""
    pictures = []
    for frame in frames:
        scale = max(1, _FRAME_PIXELS // frame.shape[-1])
        large = frame.expand(-1, 3, -1, -1).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        pictures.append(Image.fromarray(_tiled(large[None].numpy())).quantize(128, dither=Image.Dither.NONE))
    file = io.BytesIO()
    durations = [_FRAME_MS] * (len(pictures) - 1) + [_LAST_FRAME_MS]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return file.getvalue()


def _tiled(images: UInt8[np.ndarray, "rows columns 3 h w"]) -> UInt8[np.ndarray, "height width 3"]:
    """One picture, with white between the images."""
    framed = np.pad(images, [(0, 0)] * 3 + [(_GAP // 2, _GAP // 2)] * 2, constant_values=255)
    r, k, _, h, w = framed.shape
    return framed.transpose(0, 3, 1, 4, 2).reshape(r * h, k * w, 3)


def _ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str] | None = None) -> None:
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    if rows is not None:
        axes.set_yticks(range(len(rows)), rows)
    _bare(axes)


def _level_ticks(axes: Axes, found: ActivationMap, rows: Sequence[str]) -> None:
    _ticks(axes, [level_word(level) for level in found.levels], rows)
    axes.set_xlabel("noise level" if found.levels[0] is not None else "")


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=7.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, io.BytesIO]]:
    # Names of users are never TeX.
    with mpl.rc_context({"text.parse_math": False, "font.size": 8.5}):
        figure = Figure(figsize=(width, height), layout="constrained", dpi=_DPI)
        file = io.BytesIO()
        yield figure, file
        figure.savefig(file, format="png", metadata={"Software": None})
