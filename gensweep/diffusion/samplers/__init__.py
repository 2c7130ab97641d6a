"""Samplers: from noise to images, all behind one signature."""
