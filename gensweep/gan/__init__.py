"""Generative adversarial networks: their losses."""
