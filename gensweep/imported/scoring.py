"""Evaluation of images that were not drawn by a model of gensweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gensweep.imported.exported import ExportedGenerator
from gensweep.imported.imported_pictures import read_folder
from gensweep.results import Score
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import (
    EvaluationResult,
    Evaluator,
    evaluate_images,
    proportional_labels,
    scores_of,
)

__all__ = ["ImportedEvaluation", "evaluate_folder", "evaluate_generator"]


@dataclass(frozen=True)
class ImportedEvaluation:
    """The scores of imported images, where they come from (as filed under `family`), and notes for people.

    `params` is None where nobody knows.  A folder takes no time to draw.
    """

    origin: Mapping[str, Any]
    result: EvaluationResult
    scores: Mapping[str, Score]
    samples: int
    device: str
    notes: tuple[str, ...]
    seed: int = 0
    params: int | None = None

    @property
    def sample_seconds(self) -> float | None:
        """Seconds of drawing, if there was any."""
        return None if self.origin["kind"] == "folder" else self.result.sample_seconds


def evaluate_folder(
    folder: Path, evaluator: Evaluator, device: torch.device, *, progress: Callable[[int], None] | None = None
) -> ImportedEvaluation:
    """Evaluate the pictures in a folder.

    `progress` gets the number of pictures read so far, and after that of those that are also scored on top of it.
    Raises ConfigError if they are fewer than the evaluator looks at.
    """
    channels, size, _ = evaluator.shape
    found = read_folder(folder, evaluator.samples, size=size, channels=channels, progress=progress)
    pixels = torch.from_numpy(found.pixels)
    result = evaluate_images(
        evaluator,
        lambda indices: pixels[indices.cpu()].to(device),
        device,
        workers=Workers(),
        labels=_labels_of(found.files, evaluator.class_names),
        progress=None if progress is None else lambda scored: progress(evaluator.samples + scored),
    )
    origin = {"kind": "folder", "path": str(folder.resolve()), "sha256": found.sha256}
    return ImportedEvaluation(origin, result, scores_of(evaluator, result), evaluator.samples, device.type, found.notes)


def evaluate_generator(
    generator: ExportedGenerator, evaluator: Evaluator, *, seed: int = 0, progress: Callable[[int], None] | None = None
) -> ImportedEvaluation:
    """Evaluate an exported generator; with another seed than 0, on images of other noise.

    Labels come in the proportions of the real images if both have as many classes, else evenly.
    Raises GensweepError if it does not draw images that can be compared with the evaluator's.
    """
    labels, notes = None, []
    if generator.classes is not None:
        counts = evaluator.class_counts
        if len(counts) != generator.classes:
            notes.append(f"it has {generator.classes} classes and the real images {len(counts)}: all are drawn evenly")
            counts = (1,) * generator.classes
        labels = proportional_labels(counts, evaluator.samples).to(generator.device)
    result = evaluate_images(
        evaluator,
        lambda indices: generator.draw(seed, indices, None if labels is None else labels[indices], evaluator.shape),
        generator.device,
        workers=Workers(),
        labels=labels if generator.classes == len(evaluator.class_counts) else None,
        progress=progress,
    )
    origin = {
        "kind": "torchscript",
        "path": str(generator.file.resolve()),
        "sha256": generator.sha256,
        "latent": list(generator.latent),
        "classes": generator.classes,
        "output_range": None if generator.output_range is None else list(generator.output_range),
    }
    notes += generator.notes(evaluator.shape[-1])
    return ImportedEvaluation(
        origin,
        result,
        scores_of(evaluator, result),
        evaluator.samples,
        generator.device.type,
        tuple(notes),
        seed=seed,
        params=generator.params or None,
    )


def _labels_of(files: Sequence[str], class_names: tuple[str, ...]) -> torch.Tensor | None:
    """The class of each picture by the folder in which it lies, or None if a folder is not called like a class."""
    folders = [file.rpartition("/")[0].rpartition("/")[2] for file in files]
    if not set(folders) <= set(class_names):
        return None
    return torch.tensor([class_names.index(folder) for folder in folders])
