"""Work on trained models on the GPUs of a Ray cluster, and the watch for spot notices of AWS."""
