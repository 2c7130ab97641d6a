"""Generative adversarial networks: losses, gradient penalties, augmentation of what the discriminator sees."""
