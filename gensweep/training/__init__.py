"""Training and evaluation: the loop, averaged weights, checkpoints, scores on all ranks, cost."""
