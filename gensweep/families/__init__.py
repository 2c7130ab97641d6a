"""Model families: networks, optimizers, losses and sampling, behind one small protocol."""
