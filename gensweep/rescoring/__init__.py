"""Score trained models with other samplers, steps, guidance and averages: for `evaluate`."""
