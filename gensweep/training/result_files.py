"""The files in a checkpoint that are for people, and those that show how sure a score is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.families.family import Scheduled
from gensweep.training.evaluation import EvaluationResult

SUSPECTS_FILE = "suspects.png"
#: Small images are enlarged to about this side in a grid.
MIN_TILE_PIXELS = 32
#: The white margin around each image of a grid.
TILE_MARGIN_PIXELS = 2
#: Times in 0 .. 1 at which a schedule is drawn.
SCHEDULE_POINTS = 513
INK_COLOUR = "#222222"
FAINT_COLOUR = "#888888"
SIGNAL_COLOUR = "#1f6f8b"
NOISE_COLOUR = "#d1603d"


def write_result(result: EvaluationResult, folder: Path) -> None:
    """Write samples.png, suspects.png if there are any, and estimates.json if there are any.

    The latter has, by metric, "corrected", "error" and the "influences" of the images, in their order.
    """
    write_grid(result.shown, folder / "samples.png")
    if result.suspects is not None:
        write_pairs(result.suspects, folder / SUSPECTS_FILE)
    record = {
        name: {
            "corrected": estimate.corrected,
            "error": estimate.error,
            "influences": [float(f"{value:.7g}") for value in estimate.influences.tolist()],
        }
        for name, estimate in result.estimates.items()
    }
    if record:
        (folder / "estimates.json").write_text(json.dumps(record, allow_nan=False) + "\n")


def write_grid(images: UInt8[Tensor, "k c h w"], file: Path, columns: int | None = None) -> None:
    """Write images as one picture, row by row, square unless a number of columns is given; small ones are enlarged."""
    # Only a process that draws pictures pays for this import.
    from torchvision.io import write_png
    from torchvision.utils import make_grid

    scale = max(1, MIN_TILE_PIXELS // images.shape[-1])
    large = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    tiles = F.pad(large, [TILE_MARGIN_PIXELS] * 4, value=255)
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    write_png(make_grid(tiles, nrow=columns, padding=0, pad_value=255), str(file))


def write_pairs(suspects: UInt8[Tensor, "p c h w"], file: Path) -> None:
    """Write generated images, each with its original to the right, as one picture, four pairs a row."""
    write_grid(suspects, file, columns=min(8, len(suspects)))


def write_schedule(family: Scheduled, network: nn.Module, folder: Path) -> None:
    """Draw schedule.png: the log-SNR of a network's schedule, beside a line between the same ends, and what it leaves.

    Signal and noise are the variances alpha^2 = sigmoid(log-SNR) and sigma^2 = sigmoid(-log-SNR).
    """
    # Only families with such a schedule pay for this import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    t = torch.linspace(0, 1, SCHEDULE_POINTS, dtype=torch.float64)
    log_snr = family.log_snr(network, t)
    line = torch.lerp(log_snr[0], log_snr[-1], t)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(t, line, color=FAINT_COLOUR, linewidth=1, linestyle=(0, (4, 3)), label="a line")
    left.plot(t, log_snr, color=INK_COLOUR, linewidth=2, label="the schedule")
    left.set_title(f"log-SNR, from {log_snr[0]:.2f} to {log_snr[-1]:.2f}", loc="left", fontsize=10)
    right.plot(t, log_snr.sigmoid(), color=SIGNAL_COLOUR, linewidth=2, label="signal")
    right.plot(t, (-log_snr).sigmoid(), color=NOISE_COLOUR, linewidth=2, label="noise")
    right.set_title("share of the variance", loc="left", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("t")
        axes.set_xlim(0, 1)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(folder / "schedule.png", dpi=120)
