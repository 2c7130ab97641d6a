"""How people write the names of families."""

from __future__ import annotations

_IMPORTED = {
    "folder": "folder of images",
    "torchscript": "exported generator",
    "pipeline": "pipeline of diffusers",
}
_SPELLINGS = {"gan": "GAN", "vae": "VAE", "vdm": "VDM", "meanflow": "MeanFlow"}


def family_name(kind: str) -> str:
    """A family's kind as one would write it in a sentence: "GAN", "diffusion GAN"."""
    return _IMPORTED.get(kind) or " ".join(_SPELLINGS.get(word, word) for word in kind.split("_"))
