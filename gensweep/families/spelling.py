"""The names of families in text."""

from __future__ import annotations


def family_name(kind: str) -> str:
    """A family's kind in a sentence: "GAN", "diffusion GAN".  Words of three letters are taken for acronyms."""
    return " ".join(word.upper() if len(word) == 3 else word for word in kind.split("_"))
