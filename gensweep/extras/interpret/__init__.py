"""`gensweep interpret`: which units of a trained network react to a label, and what changes without them."""
