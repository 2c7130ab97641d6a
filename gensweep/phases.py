"""What the workers of a trial are busy with, in the words in which people are told."""

from __future__ import annotations

from typing import Literal, TypeAlias

Phase: TypeAlias = Literal[
    "starting",
    "fetching checkpoints",
    "loading data",
    "reading the feature extractor",
    "computing reference statistics",
    "building the networks",
    "compiling",
    "training",
    "drawing samples",
    "scoring",
    "saving",
]

#: Those in which a trial may have trained on since its last checkpoint.
UNSAVED: tuple[Phase, ...] = ("training", "drawing samples", "scoring", "saving")
#: Those that one trial goes through for all others, and that may take many minutes.
DONE_ONCE: tuple[Phase, ...] = ("computing reference statistics", "compiling")
