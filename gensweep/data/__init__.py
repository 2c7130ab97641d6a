"""Data sets as uint8 arrays, and the loader that makes batches on the training device."""
