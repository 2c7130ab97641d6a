"""What trained networks do with a label: which units react to it, and what changes when they are turned off."""
