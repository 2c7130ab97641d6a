"""gensweep tells which image generator to train, with which settings, for the compute at hand."""

__version__ = "0.1.0"
