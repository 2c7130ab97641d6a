"""One trial from its first image, or a checkpoint, to the end of its budget: train, evaluate, save, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import nn

from gensweep.data.loader import Loader
from gensweep.errors import GensweepError
from gensweep.families.family import Scheduled
from gensweep.nn import kernels
from gensweep.nn.lora import merged
from gensweep.results import Cost, Evaluation
from gensweep.training.checkpoint import (
    ESTIMATES_FILE,
    SAMPLES_FILE,
    SCHEDULE_FILE,
    SUSPECTS_FILE,
    Checkpoint,
    load_tensors,
    read,
    save,
    verify,
)
from gensweep.training.cost import memory_bytes, parameters, sample_flops, training_flops
from gensweep.training.curves import write_schedule
from gensweep.training.early_evaluation import early
from gensweep.training.evaluation import (
    EvaluationResult,
    Evaluator,
    evaluate,
    scores_of,
    write_estimates,
    write_grid,
    write_pairs,
)
from gensweep.training.learner_state import restore, sampler_prefix, state_of
from gensweep.training.loop import Learner, Progress, kind_of, train
from gensweep.training.memory import activation_bytes

__all__ = ["ListReporter", "Numbers", "Reporter", "StopTrial", "WorkerContext", "resume_from", "run_trial"]

Numbers: TypeAlias = Mapping[str, int | float]


class StopTrial(Exception):  # noqa: N818  (a decision, not an error)
    """Raised by a reporter to end a trial early; it passes through `run_trial`, whose checkpoints are complete."""


@dataclass(frozen=True)
class WorkerContext:
    """Where a job runs: its rank of so many, its device, a folder for its files, and checkpoints to resume from.

    The newest of these comes first; the job takes the first that is whole.
    """

    rank: int
    world: int
    device: torch.device
    folder: Path
    resume: tuple[Path, ...] = ()


@runtime_checkable
class Reporter(Protocol):
    """Where a trial reports.  All ranks call it equally often; only the numbers of rank 0 count."""

    def progress(self, images: int, numbers: Numbers) -> None:
        """Numbers after so many training images; may raise StopTrial."""
        ...

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """An evaluation, and the checkpoint that rank 0 has written to `folder`; may raise StopTrial."""
        ...


@dataclass
class ListReporter:
    """Keeps all reports, for use without Ray; stops the trial after `stop_after` checkpoints, if given."""

    stop_after: int | None = None
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    checkpoints: list[tuple[Evaluation, Path]] = field(default_factory=list)

    def progress(self, images: int, numbers: Numbers) -> None:
        """Keep them."""
        self.reports.append((images, dict(numbers)))

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """Keep them."""
        self.checkpoints.append((evaluation, folder))
        if len(self.checkpoints) == self.stop_after:
            raise StopTrial


def run_trial(
    learner: Learner,
    loader: Loader,
    evaluator: Evaluator,
    reporter: Reporter,
    *,
    every: int,
    folder: Path,
    metadata: Mapping[str, Any],
    class_names: tuple[str, ...],
    resume: Sequence[Path] = (),
    also: Callable[[nn.Module, Path], None] | None = None,
) -> None:
    """Train to the end of the budget, and evaluate, save a checkpoint and report at each multiple of `every` images.

    Checkpoints go into `folder`, with `metadata` inside; `also` may write more there, and gets the network that draws
    samples.  `resume` are checkpoints, the newest first: training continues from the first that is not damaged.  A
    trial that has used up its budget already is evaluated and reported once more.
    """
    trial = _Trial(learner, loader, evaluator, reporter, folder, dict(metadata), class_names, also)
    if resume:
        trial.resume(resume_from(learner, resume))
    if learner.images >= learner.training.images:
        trial.evaluate()
    for event in train(learner, loader, every=every):
        if isinstance(event, Progress):
            trial.log(event)
        else:
            trial.evaluate()


def resume_from(learner: Learner, folders: Sequence[Path]) -> Checkpoint:
    """Bring a learner to the first of some checkpoints that is not damaged on any rank; every rank must call it.

    Raises GensweepError that names what is wrong with each if there is none.
    """
    problems: list[str] = []
    while len(problems) < len(folders):
        try:
            verify(folders[len(problems)])
        except GensweepError as error:
            problems.append(str(error))
            continue
        break
    chosen = torch.tensor(len(problems), device=learner.device)
    index = int(learner.workers.max(chosen))
    if index >= len(folders):
        raise GensweepError("\n".join(problems) or "no checkpoint is whole on all workers; start the trial again")
    checkpoint = read(folders[index])
    restore(learner, load_tensors(folders[index]))
    learner.images, learner.seconds = checkpoint.images, checkpoint.seconds["train"]
    return checkpoint


class _Trial:
    """The state of a running trial that its reports are made from."""

    def __init__(
        self,
        learner: Learner,
        loader: Loader,
        evaluator: Evaluator,
        reporter: Reporter,
        folder: Path,
        metadata: dict[str, Any],
        class_names: tuple[str, ...],
        also: Callable[[nn.Module, Path], None] | None,
    ) -> None:
        self.learner, self.evaluator, self.reporter, self.folder = learner, evaluator, reporter, folder
        self.metadata, self.class_names, self.also = metadata, class_names, also
        self.sizes = parameters(learner.family)
        self.flops = training_flops(learner.family, loader)
        self.sample_flops = sample_flops(learner.family)
        self.activation_bytes = activation_bytes(learner.family, loader, learner.autocast)
        self.losses: dict[str, float] = {}
        self.seconds = {"train": 0.0, "sample": 0.0, "evaluate": 0.0}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue the counters of a checkpoint."""
        self.seconds = dict(checkpoint.seconds)
        self.losses = {
            name: value
            for name, value in checkpoint.metrics.items()
            if name.startswith(("loss", "signal/")) or name == "images_per_second"
        }

    def log(self, progress: Progress) -> None:
        """Report the losses."""
        self.losses = {"loss": sum(progress.losses.values()), "images_per_second": progress.images_per_second}
        self.losses |= {f"loss/{name}": value for name, value in progress.losses.items()}
        self.losses |= {f"signal/{name}": value for name, value in progress.signals.items()}
        self.seconds["train"] = progress.train_seconds
        numbers = self.losses | self._cost().as_dict()
        del numbers["images"]
        self.reporter.progress(self.learner.images, numbers)

    def evaluate(self) -> None:
        """Evaluate, save and report."""
        learner = self.learner
        evaluator, family = self.evaluator, learner.family
        if learner.images < learner.training.images:
            evaluator, family = early(evaluator, family)
        result = evaluate(family, merged(learner.sampler), evaluator, workers=learner.workers)
        self.seconds["sample"] += result.sample_seconds
        self.seconds["evaluate"] += result.evaluate_seconds
        cost = replace(
            self._cost(),
            sample_seconds=result.sample_seconds,
            evaluate_seconds=result.evaluate_seconds,
            params=sum(self.sizes.values()),
            sample_flops=self.sample_flops,
            activation_bytes=self.activation_bytes,
        )
        scores = scores_of(evaluator, result)
        evaluation = Evaluation(learner.images, scores, cost, self.losses | result.signals)
        folder = self._save(evaluation, evaluator, result) if learner.workers.rank == 0 else self.folder
        self.reporter.evaluated(evaluation, folder)

    def _cost(self) -> Cost:
        """The numbers in every report."""
        learner = self.learner
        memory = torch.tensor(memory_bytes(learner.device), device=learner.device)
        return Cost(
            images=learner.images,
            flops=self.flops * learner.images,
            device_seconds=sum(self.seconds.values()) * learner.workers.world,
            train_seconds=self.seconds["train"],
            memory_bytes=int(learner.workers.max(memory)),
        )

    def _save(self, evaluation: Evaluation, evaluator: Evaluator, result: EvaluationResult) -> Path:
        learner = self.learner
        checkpoint = Checkpoint(
            images=learner.images,
            seconds=self.seconds,
            seed=learner.seed,
            family=kind_of(learner.family),
            shape=evaluator.shape,
            class_names=self.class_names,
            class_counts=evaluator.class_counts,
            weights=sampler_prefix(learner),
            metadata=self.metadata,
            metrics={"images": learner.images, **evaluation.numbers()},
            identities={name: identity.as_dict() for name, identity in evaluator.identities.items()},
            kernels=kernels.active(learner.device.type),
        )
        return save(self.folder, checkpoint, state_of(learner), also=partial(self._add_files, result))

    def _add_files(self, result: EvaluationResult, folder: Path) -> None:
        write_grid(result.shown, folder / SAMPLES_FILE)
        if result.suspects is not None:
            write_pairs(result.suspects, folder / SUSPECTS_FILE)
        if result.estimates:
            write_estimates(result.estimates, folder / ESTIMATES_FILE)
        family = self.learner.family
        if isinstance(family, Scheduled):
            write_schedule(family, self.learner.sampler, folder / SCHEDULE_FILE)
        if self.also is not None:
            self.also(self.learner.sampler, folder)
