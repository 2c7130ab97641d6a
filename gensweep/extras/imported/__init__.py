"""Images and generators of other programs: scored as those of a trial are, and ranked with them."""
