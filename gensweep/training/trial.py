"""One trial from its first image, or a checkpoint, to its end: train, evaluate, save, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gensweep import kernels
from gensweep.data.loader import Loader
from gensweep.errors import GensweepError
from gensweep.families.family import FAMILIES
from gensweep.nn.updates import merged
from gensweep.results import Cost, Evaluation
from gensweep.training.checkpoint import Checkpoint, load_tensors, read, save, verify
from gensweep.training.cost import activation_bytes, sample_flops, scoring_flops, trained_parameters, training_flops
from gensweep.training.device import keep_freed_memory, memory_bytes, synchronised_time
from gensweep.training.evaluation import EvaluationResult, Evaluator, evaluate
from gensweep.training.learner_state import restore, sampler_prefix, state_of
from gensweep.training.loop import Learner, Progress, train
from gensweep.training.reporter import Reporter, WorkerContext
from gensweep.training.result_files import write_result
from gensweep.training.timing import Ticker, set_pace


def run_trial(
    learner: Learner,
    evaluator: Evaluator,
    context: WorkerContext,
    reporter: Reporter,
    *,
    metadata: Mapping[str, Any],
    also: Callable[[nn.Module, Path], None] | None = None,
) -> None:
    """Train to the end on the evaluator's images; evaluate, save and report according to the settings.

    Checkpoints hold `metadata`; `also` gets the sampling network and may write more files to their folders.  A finished
    trial is evaluated and reported once more.
    """
    keep_freed_memory()
    trial = _Trial(learner, evaluator, context, reporter, metadata, also)
    resumed = trial.resume()
    if learner.training.compilation != "none":
        reporter.moved("compiling")  # with the first step
    paced = not resumed and learner.training.device_seconds is not None
    if paced:
        first = set_pace(learner, trial.loader, partial(reporter.moved, "training"))
        reporter.paced(learner.training.images, learner.images / learner.seconds)
        trial.log(first)
    rungs = evaluator.settings.rungs(learner.training.images)
    passed = paced and any(rung <= learner.images for rung in rungs)  # before the length was known
    if passed or learner.images >= learner.training.images:
        trial.evaluate()
    ticker, started = Ticker(learner), synchronised_time(learner.device)
    for progress in train(learner, trial.loader, rungs):
        reporter.moved("training")
        tick = ticker.is_due()
        if progress is None and not tick:
            continue
        learner.count_seconds(synchronised_time(learner.device) - started)
        if progress is not None:
            trial.log(progress)
        if progress is not None and progress.due:
            trial.evaluate()
        elif tick and trial.checkpoint_is_due():
            trial.save()
        started = synchronised_time(learner.device)


@dataclass
class _Trial:
    """A running trial, with the last losses, and the time of sampling and scoring on all devices so far."""

    learner: Learner
    evaluator: Evaluator
    context: WorkerContext
    reporter: Reporter
    metadata: Mapping[str, Any]
    also: Callable[[nn.Module, Path], None] | None
    losses: dict[str, float] = field(default_factory=dict)
    scoring_flops: float = 0.0
    scoring_device_seconds: float = 0.0
    saved_at: float = field(default_factory=time.monotonic)
    """Time of the last checkpoint, or of the start."""
    logged_at: tuple[int, float] = (0, 0.0)
    """Images and seconds of training at the last report of losses, or at resuming."""

    def __post_init__(self) -> None:
        learner = self.learner
        self.loader = Loader(self.evaluator.images, seed=learner.seed, device=learner.device)
        self.flops_an_image = training_flops(learner.family, self.loader, learner.training.accumulation)
        self.flops_of_drawing = sample_flops(learner.family)
        self.constant_cost = Cost(
            sample_flops=self.flops_of_drawing,
            params=sum(each.numel() for each in trained_parameters(learner.family)),
            activation_bytes=activation_bytes(learner.family, self.loader, learner.autocast),
        )
        self.flops_of_scoring = scoring_flops(learner.family, self.evaluator, self.flops_of_drawing)

    def resume(self) -> bool:
        """Resume from the newest checkpoint that is undamaged on all ranks.

        Returns False if there is none, so training starts from the beginning; notes describe damaged ones.
        """
        learner, folders, problems = self.learner, self.context.resume, list[str]()
        for folder in folders:
            try:
                verify(folder)
                break
            except GensweepError as error:
                problems.append(str(error))
        index = int(learner.workers.max(torch.tensor(len(problems), device=learner.device)))
        whole = folders[index:]
        if problems:
            causes = "; ".join(problem.partition("; use another")[0] for problem in problems)
            self.reporter.note(f"{causes}: {f'resuming from {whole[0].name}' if whole else 'starting again'}")
        if not whole:
            return False
        checkpoint = read(whole[0])
        restore(learner, load_tensors(whole[0]))
        learner.images, learner.seconds = self.logged_at = checkpoint.images, checkpoint.metrics["train_seconds"]
        learner.device_seconds = checkpoint.metrics["device_seconds"]
        self.scoring_flops = checkpoint.metrics["scoring_flops"]
        self.scoring_device_seconds = checkpoint.metrics["scoring_device_seconds"]
        if checkpoint.length is not None and learner.training.device_seconds is not None:
            learner.training = replace(learner.training, images=checkpoint.length)
        self.losses = {
            name: value
            for name, value in checkpoint.metrics.items()
            if name.startswith(("loss", "signal/")) or name == "images_per_second"
        }
        return True

    def log(self, progress: Progress) -> None:
        """Report the losses."""
        images, seconds = self.learner.images - self.logged_at[0], self.learner.seconds - self.logged_at[1]
        self.logged_at = (self.learner.images, self.learner.seconds)
        self.losses = {"loss": sum(progress.losses.values()), "images_per_second": images / max(seconds, 1e-9)}
        self.losses |= {f"loss/{name}": value for name, value in progress.losses.items()}
        self.losses |= {f"signal/{name}": value for name, value in progress.signals.items()}
        numbers = self.losses | self._add_to(Cost()).as_dict()
        del numbers["images"]
        self.reporter.progress(self.learner.images, numbers)

    def evaluate(self) -> None:
        """Evaluate, save and report."""
        learner, evaluator = self.learner, self.evaluator
        network, share = merged(learner.sampler), len(learner.workers.share(evaluator.samples))
        self.reporter.moved("scoring")
        # Sampling one batch may need a thousand network calls.
        hook = network.register_forward_hook(lambda *_: self.reporter.moved())
        result = evaluate(
            learner.family,
            network,
            evaluator,
            workers=learner.workers,
            progress=lambda drawn: self.reporter.moved("drawing samples" if drawn < share else "scoring"),
        )
        hook.remove()
        self.scoring_device_seconds += (result.sample_seconds + result.evaluate_seconds) * learner.workers.world
        self.scoring_flops += self.flops_of_scoring
        cost = replace(
            self.constant_cost, sample_seconds=result.sample_seconds, evaluate_seconds=result.evaluate_seconds
        )
        evaluation = Evaluation(learner.images, result.scores, self._add_to(cost), self.losses | result.signals)
        self.reporter.moved("saving")
        if learner.workers.rank == 0:
            self._save(state_of(learner), evaluation, result)
        self.reporter.evaluated(evaluation, self._folder)
        self.saved_at = time.monotonic()

    def save(self) -> None:
        """Save and report a checkpoint without a score, from which an interrupted training resumes."""
        self.reporter.moved("saving")
        learner = self.learner
        tensors = state_of(learner) | learner.sums.state(learner.workers)
        unscored = Evaluation(learner.images, {}, self._add_to(self.constant_cost), self.losses)
        if learner.workers.rank == 0:
            self._save(tensors, unscored)
        self.reporter.saved(learner.images, self._folder)
        self.saved_at = time.monotonic()

    def checkpoint_is_due(self) -> bool:
        """True if a rank is asked for a checkpoint or its last one is old enough; all ranks call it together."""
        learner, interval = self.learner, self.learner.training.checkpoint_interval
        wanted = self.reporter.checkpoint_wanted()
        wanted |= interval is not None and time.monotonic() - self.saved_at >= interval
        return bool(learner.workers.max(torch.tensor(int(wanted), device=learner.device)))

    @property
    def _folder(self) -> Path:
        """Metadata of the checkpoint now."""
        return self.context.folder / f"images-{self.learner.images:012d}"

    def _add_to(self, cost: Cost) -> Cost:
        """A cost with the numbers of every report; all ranks call it together."""
        learner = self.learner
        memory = torch.tensor(memory_bytes(learner.device), device=learner.device)
        return replace(
            cost,
            images=learner.images,
            flops=self.flops_an_image * learner.images,
            device_seconds=learner.device_seconds,
            scoring_flops=self.scoring_flops,
            scoring_device_seconds=self.scoring_device_seconds,
            train_seconds=learner.seconds,
            memory_bytes=int(learner.workers.max(memory)),
        )

    def _save(
        self, tensors: Mapping[str, Tensor], evaluation: Evaluation, result: EvaluationResult | None = None
    ) -> None:
        learner, images = self.learner, self.evaluator.images
        checkpoint = Checkpoint(
            images=learner.images,
            seed=learner.seed,
            family=FAMILIES.kind_of(learner.family),
            shape=images.shape,
            class_names=images.class_names,
            class_counts=images.class_counts,
            weights=sampler_prefix(learner),
            metadata=dict(self.metadata),
            metrics={"images": learner.images, **evaluation.numbers()},
            identities={name: score.identity.as_dict() for name, score in evaluation.scores.items()},
            kernels=kernels.active(learner.device.type),
            length=learner.training.images,
        )

        def add_files(folder: Path) -> None:
            if result is not None:
                write_result(result, images, folder)
                if self.also is not None:
                    self.also(learner.sampler, folder)

        save(self._folder, checkpoint, tensors, also=add_files)
