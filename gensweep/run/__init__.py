"""Run a sweep with Ray: trials in Tune, several workers of a trial in Train."""
