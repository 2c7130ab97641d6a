"""Pictures of what a family has learnt beside its images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from gensweep.families.family import Scheduled

__all__ = ["write_schedule"]

#: Times in 0 .. 1 at which a schedule is drawn.
SCHEDULE_POINTS = 513
INK_COLOUR = "#222222"
FAINT_COLOUR = "#888888"
SIGNAL_COLOUR = "#1f6f8b"
NOISE_COLOUR = "#d1603d"


def write_schedule(family: Scheduled, network: nn.Module, file: Path) -> None:
    """Draw the noise schedule of a network: its log-SNR, beside a line between the same ends, and what it leaves.

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
    figure.savefig(file, dpi=120)
