"""Keeping what was done: provenance, the MLflow write side, the runs read side."""
