"""The command line: one thin file per group of commands, imported only when its command runs."""
