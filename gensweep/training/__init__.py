"""Training and judging: the loop, averaged weights, checkpoints, evaluation on all ranks, cost."""
