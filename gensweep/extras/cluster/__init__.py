"""Run work on trained models on the GPUs of a Ray cluster, and watch for AWS spot notices."""
