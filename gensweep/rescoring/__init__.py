"""Trained models scored again with other samplers, steps, guidance and averages: for `evaluate`."""
