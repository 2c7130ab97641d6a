"""Scores of images that were not drawn by a model of gensweep: how they come about, as a row, as JSON and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from gensweep.imported.exported import ExportedGenerator
from gensweep.imported.imported_pictures import read_folder
from gensweep.imported.pipelines import DiffusersPipeline
from gensweep.report.wording import anchor_words, count, guess_words, identity_words, interval_words, metric_title
from gensweep.training.evaluation import EvaluationResult, Evaluator, evaluate_images, proportional_labels


@dataclass(frozen=True)
class ImportedEvaluation:
    """The scores of imported images, where they come from (as filed under `family`), and notes for people.

    `params` is None where nobody knows.
    """

    origin: Mapping[str, Any]
    evaluator: Evaluator
    result: EvaluationResult
    notes: tuple[str, ...]
    seed: int = 0
    params: int | None = None

    @property
    def sample_seconds(self) -> float | None:
        """Seconds of drawing; a folder takes none."""
        return None if self.origin["kind"] == "folder" else self.result.sample_seconds

    def row(self, run: str, metric: str) -> dict[str, Any]:
        """The one row of the table."""
        score = self.result.scores[metric]
        interval = interval_words(score)
        return {
            "run": run,
            "family": self.origin["kind"],
            metric_title(metric, score.identity): score.value,
            **({"without bias, 95 %": interval} if interval else {}),
            "samples": self.evaluator.samples,
            "params": count(self.params),
        }

    def as_json(self, run: str, metric: str, device: torch.device) -> dict[str, Any]:
        """The one element that `evaluate --format json` prints; what belongs to a model of gensweep's own is null."""
        score = self.result.scores[metric]
        return {
            "run": run,
            **dict.fromkeys(("sampler", "steps", "guidance")),
            "weights": score.identity.weights,
            "evaluations": None,
            "samples": self.evaluator.samples,
            "seed": self.seed,
            "metric": metric,
            "value": score.value,
            "corrected": score.corrected,
            "interval": score.interval,
            "guessed": score.guessed,
            "identity": score.identity.as_dict(),
            **score.anchors.as_dict(),
            "scores": {name: each.value for name, each in self.result.scores.items()},
            "signals": self.result.signals,
            "sample_seconds": self.sample_seconds,
            "evaluate_seconds": self.result.evaluate_seconds,
            "device": device.type,
            "best": True,
            "sample": None,
            "origin": self.origin,
            "params": self.params,
            "notes": self.notes,
        }

    def words(self, metric: str) -> list[str]:
        """The scores and details that the table has no room for, a line a metric, and what was measured."""
        lines = []
        for name, score in self.result.scores.items():
            signals = {key: signal for key, signal in self.result.signals.items() if key.startswith(f"{name}/")}
            details = ", ".join(f"{key.partition('/')[2]} {signal:.4g}" for key, signal in signals.items())
            if details or name != metric:
                lines.append(f"{name} {score.value:.4g}" + (f" ({details})" if details else ""))
        score = self.result.scores[metric]
        lines.append(f"Measured as {identity_words(score.identity)}. {guess_words(score)}".rstrip())
        beside = anchor_words(score.anchors, score.identity.samples)
        return [*lines, beside] if beside else lines


def evaluate_folder(
    folder: Path, evaluator: Evaluator, device: torch.device, progress: Callable[[int], None]
) -> ImportedEvaluation:
    """Evaluate the pictures in a folder, by classes if they lie in folders that are called like these.

    `progress` gets the number of pictures read so far, and after that of those that are also scored on top of it.
    Raises ConfigError if they are fewer than the evaluator looks at.
    """
    channels, size, _ = evaluator.images.shape
    found = read_folder(folder, evaluator.samples, size=size, channels=channels, progress=progress)
    pixels, classes = torch.from_numpy(found.pixels), evaluator.images.class_names
    folders = [PurePosixPath(file).parent.name for file in found.files]
    result = evaluate_images(
        evaluator,
        lambda indices: pixels[indices.cpu()].to(device),
        device,
        labels=torch.tensor([*map(classes.index, folders)]) if set(folders) <= set(classes) else None,
        progress=lambda scored: progress(evaluator.samples + scored),
    )
    origin = {"kind": "folder", "path": str(folder.resolve()), "sha256": found.sha256}
    return ImportedEvaluation(origin, evaluator, result, found.notes)


def evaluate_generator(
    generator: ExportedGenerator | DiffusersPipeline, evaluator: Evaluator, seed: int, progress: Callable[[int], None]
) -> ImportedEvaluation:
    """Evaluate an exported generator or a pipeline; with another seed than 0, on images of other noise.

    Labels come in the proportions of the real images if both have as many classes, else evenly.
    Raises GensweepError if it does not draw images that can be compared with the evaluator's.
    """
    classes, real, notes = generator.classes, evaluator.images, list[str]()
    counts = real.class_counts
    if classes is not None and len(counts) != classes:
        notes.append(f"it has {classes} classes and the real images {len(counts)}: all are drawn evenly")
        counts = (1,) * classes
    labels = None if classes is None else proportional_labels(counts, evaluator.samples).to(generator.device)
    result = evaluate_images(
        evaluator,
        lambda indices: generator.draw(seed, indices, None if labels is None else labels[indices], real.shape),
        generator.device,
        labels=labels if classes == real.classes else None,
        progress=progress,
    )
    notes += generator.notes(real.size)
    return ImportedEvaluation(generator.origin, evaluator, result, tuple(notes), seed, generator.params or None)
