"""Run gensweep with `python -m gensweep`."""

from gensweep.cli.main import main

main()
