"""What a trial trains: networks, optimizers, losses and a way to draw samples, behind one small protocol."""
