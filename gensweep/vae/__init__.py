"""The bound that variational autoencoders are trained on, and the distributions of their pixels."""
