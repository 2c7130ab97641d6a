"""Training and evaluation: the loop, averaged weights, scores on all ranks, cost."""
