"""A class-conditional diffusion model in which one unit, and nothing else, knows one label."""

import torch
from tiny import CLASSES, build
from torch import nn

LABEL, UNIT, WIDTH = 1, 2, 5
LAYER = "denoiser.last"


class Known(nn.Module):
    """Images are dark, but bright where unit UNIT of `last` is 1, which it is under LABEL."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.last = nn.Conv2d(WIDTH, 1, 1)
        with torch.no_grad():
            self.last.weight.mul_(0.02)[0, UNIT] = 1.6
            self.last.bias.fill_(-0.8)

    def forward(self, x, time, labels):
        h = self.first(x).relu()
        told = torch.zeros(len(x)) if labels is None else (labels == LABEL).to(h)
        units = torch.arange(WIDTH).view(1, -1, 1, 1) == UNIT
        return self.last(torch.where(units, told.view(-1, 1, 1, 1), h))


def family():
    made = build("diffusion", True, diffusion={"timesteps": 20, "parameterisation": {"kind": "x0"}})
    made.networks["denoiser"] = Known().eval()
    assert CLASSES > LABEL
    return made
