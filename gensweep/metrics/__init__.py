"""How good are these images?  Feature extractors, streaming moments, the Frechet distance and its reference cache."""
