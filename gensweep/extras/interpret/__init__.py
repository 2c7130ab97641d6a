"""`gensweep interpret`: find the units of a trained network that react to a label, and switch them off."""
