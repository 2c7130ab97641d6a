"""Texts of sweeps for the tests of this folder."""

BASE = """\
name: demo
base:
  family: {kind: diffusion}
  training: {images: 20000, batch_size: 64}
  evaluation: {every: 5000}
"""


TWO_FAMILIES = """\
name: both
base:
  data: {kind: digits}
space:
  family:
    choice:
    - kind: diffusion
      network: {kind: unet, width: {int: [16, 32], step: 16}}
      diffusion.schedule: {choice: [{kind: linear, beta_end: {float: [0.01, 0.04]}}, {kind: cosine}]}
    - kind: gan
      conditional: {choice: [false, true]}
      network: {kind: dcgan, width: {int: [8, 64], log: true}}
"""
