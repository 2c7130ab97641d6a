"""Copies of sweeps in other programs, written from their logs."""
