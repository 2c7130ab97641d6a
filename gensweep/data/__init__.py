"""Data sets as arrays of uint8, and the loader that makes batches of them on the training device."""
