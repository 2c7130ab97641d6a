"""The Python API, which the commands use too: each function does the work of the command of its name."""
