"""Score images and pipelines of other programs, and rank them with trials."""
