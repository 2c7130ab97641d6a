"""The section `finetune` of a trial: the trained model that it goes on from, and which weights change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from gensweep.data.images import ClassNames
from gensweep.nn.updates import UPDATES, Update
from gensweep.registry import Choice

__all__ = ["Finetuning", "finetune"]


@dataclass(frozen=True)
class Finetuning:
    """What a trial goes on from; `base` is None for a training from the start, and `classes` those that base knows."""

    base: str | None
    sha256: str | None
    classes: tuple[str, ...]
    name: str | None
    update: Update


def finetune(
    *,
    base: str | None = None,
    sha256: str | None = None,
    classes: ClassNames | None = None,
    name: Annotated[str, MinLen(1)] | None = None,
    update: Annotated[Update, Choice(UPDATES, "lora")],
) -> Finetuning:
    """Go on from a trained model with other images; without a `base` a trial begins at the beginning.

    The base is a run or a checkpoint; settings that are not written are its own.  Its hash `sha256` and its `classes`
    are filled in when the run starts.  Classes that it does not know are learnt as new labels; `name` says what the
    class of images without one is called.
    """
    return Finetuning(base, sha256, classes or (), name, update)
