"""Networks: denoisers for diffusion models, generators and discriminators for GANs."""
