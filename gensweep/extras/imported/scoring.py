"""Scores of images from other programs: how they were obtained, as a row, as JSON and in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.extras.imported.imported_pictures import read_folder
from gensweep.extras.imported.pipelines import DiffusersPipeline, resized_pictures
from gensweep.metrics.titles import metric_title
from gensweep.noise import Noise
from gensweep.report.export import score_json
from gensweep.report.wording import count, format_anchors, format_guess, format_identity, format_interval
from gensweep.training.evaluation import EvaluationResult, Evaluator, evaluate_images, sample_labels


@dataclass(frozen=True)
class ImportedEvaluation:
    """Scores of imported images, their origin (saved under `family`), and notes for the user.

    `draw` returns some of the images again, and `labels` are their classes.  `params` is None if unknown.
    """

    origin: Mapping[str, Any]
    evaluator: Evaluator
    result: EvaluationResult
    notes: tuple[str, ...]
    draw: Callable[[Tensor], Tensor]
    labels: Tensor | None
    seed: int = 0
    params: int | None = None

    @property
    def sample_seconds(self) -> float | None:
        """Seconds of generating; 0 for a folder."""
        return None if self.origin["kind"] == "folder" else self.result.sample_seconds

    def row(self, run: str, metric: str) -> dict[str, Any]:
        """The only row of the table."""
        score = self.result.scores[metric]
        interval = format_interval(score)
        return {
            "run": run,
            "family": self.origin["kind"],
            metric_title(metric, score.identity): score.value,
            **({"without bias, 95 %": interval} if interval else {}),
            "samples": self.evaluator.samples,
            "params": count(self.params),
        }

    def as_json(self, run: str, metric: str, device: torch.device) -> dict[str, Any]:
        """The only element that `evaluate --format json` prints; values that need a gensweep model are null."""
        score = self.result.scores[metric]
        return {
            "run": run,
            **dict.fromkeys(("sampler", "steps", "guidance", "evaluations", "sample")),
            "weights": score.identity.weights,
            "samples": self.evaluator.samples,
            "seed": self.seed,
            **score_json(score),
            "scores": {name: each.value for name, each in self.result.scores.items()},
            "signals": self.result.signals,
            "sample_seconds": self.sample_seconds,
            "evaluate_seconds": self.result.evaluate_seconds,
            "device": device.type,
            "best": True,
            "origin": self.origin,
            "params": self.params,
            "notes": self.notes,
        }

    def format_lines(self, metric: str) -> list[str]:
        """Scores and details missing from the table, one line per metric, and the measurement."""
        lines = []
        for name, score in self.result.scores.items():
            signals = {key: signal for key, signal in self.result.signals.items() if key.startswith(f"{name}/")}
            details = ", ".join(f"{key.partition('/')[2]} {signal:.4g}" for key, signal in signals.items())
            if details or name != metric:
                lines.append(f"{name} {score.value:.4g}" + (f" ({details})" if details else ""))
        score = self.result.scores[metric]
        lines.append(f"Measured as {format_identity(score.identity)}. {format_guess(score)}".rstrip())
        return [*lines, *filter(None, [format_anchors(score.anchors, score.identity.samples)])]


def evaluate_folder(
    folder: Path, evaluator: Evaluator, device: torch.device, progress: Callable[[int], None]
) -> ImportedEvaluation:
    """Evaluate the pictures in a folder, by class if its subfolders are named like the classes.

    `progress` receives the number of pictures read, then plus the number scored.
    Raises ConfigError if there are fewer than the evaluator needs.
    """
    channels, size, _ = evaluator.images.shape
    found = read_folder(folder, evaluator.samples, size=size, channels=channels, progress=progress)
    pixels, classes = torch.from_numpy(found.pixels), evaluator.images.class_names
    folders = [PurePosixPath(file).parent.name for file in found.files]
    labels = torch.tensor([*map(classes.index, folders)]) if set(folders) <= set(classes) else None

    def draw(indices: Tensor) -> Tensor:
        return pixels[indices.cpu()].to(device)

    def show(scored: int) -> None:
        progress(evaluator.samples + scored)

    result = evaluate_images(evaluator, draw, device, labels=labels, progress=show)
    origin = {"kind": "folder", "path": str(folder.resolve()), "sha256": found.sha256}
    return ImportedEvaluation(origin, evaluator, result, found.notes, draw, labels)


def evaluate_pipeline(
    pipeline: DiffusersPipeline, evaluator: Evaluator, seed: int, progress: Callable[[int], None]
) -> ImportedEvaluation:
    """Evaluate a pipeline; a seed other than 0 uses other noise.

    Labels are random, in the proportions of the real images if class numbers agree, else uniform.
    Raises GensweepError if its images cannot be compared with the evaluator's.
    """
    classes, real, notes, sizes = pipeline.classes, evaluator.images, list[str](), set[tuple[int, int]]()
    counts = real.class_counts
    if classes is not None and len(counts) != classes:
        notes.append(f"it has {classes} classes and the real images have {len(counts)}: labels are uniform")
        counts = (1,) * classes
    noise = Noise(seed, torch.arange(evaluator.samples, device=pipeline.device))
    labels = None if classes is None else sample_labels(counts, noise)

    def draw(indices: Tensor) -> Tensor:
        images = pipeline.draw(seed, indices, None if labels is None else labels[indices])
        if images.shape[1] != real.channels:
            raise GensweepError(
                f"{pipeline.origin['path']}: its images have {images.shape[1]} channels, but the real images "
                f"have {real.channels}; choose others: --like RUN, or --set data.kind=KIND"
            )
        sizes.add((images.shape[3], images.shape[2]))
        return images if images.shape[1:] == real.shape else resized_pictures(images, real.size)

    known = labels if classes == real.classes else None
    result = evaluate_images(evaluator, draw, pipeline.device, labels=known, progress=progress)
    notes += [
        f"its images are {width}x{height}: the central square is resized to {real.size}x{real.size}"
        for width, height in sorted(sizes - {(real.size, real.size)})
    ]
    return ImportedEvaluation(
        pipeline.origin, evaluator, result, tuple(notes), draw, known, seed, pipeline.params or None
    )
