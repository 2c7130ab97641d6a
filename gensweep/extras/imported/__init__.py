"""Score images and generators of other programs like those of trials, and rank them together."""
