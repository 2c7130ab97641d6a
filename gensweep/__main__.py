"""`python -m gensweep` is `gensweep`."""

from gensweep.cli.main import main

main()
