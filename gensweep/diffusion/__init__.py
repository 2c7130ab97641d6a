"""Gaussian diffusion: schedules, the process, losses, guidance and samplers."""
