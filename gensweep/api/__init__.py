"""What Python programs and the commands call alike: each function does the whole of what a command of its name does."""
