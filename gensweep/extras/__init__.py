"""Features beside the core, which does not know of them: each package comes in by its entry points."""
