"""Generative adversarial networks: losses, gradient penalties, and augmentation of the discriminator's input."""
