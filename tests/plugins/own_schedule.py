"""A schedule of a user's own, as the text of a file, and a trial that has it."""

SCHEDULE = '''
import torch
from gensweep.diffusion.schedules import SCHEDULES

@SCHEDULES.register("{kind}")
def {kind}(timesteps: int, *, rate: float = 5.0) -> torch.Tensor:
    """Alpha_bar that decays exponentially."""
    return torch.exp(-rate * torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps)
'''


def trial_with(kind, **more):
    return {"family": {"kind": "diffusion"}, "diffusion": {"schedule": {"kind": kind}}, **more}
