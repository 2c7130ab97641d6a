"""Quality of images: feature extractors, streaming moments, the Frechet distance and its reference cache."""
