"""Score a trained model with other sampling configurations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from gensweep.build.model import Model, in_batches, load_checkpoint, weights_name
from gensweep.build.parts import build_evaluator, build_family, current_references, load_images
from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.errors import ConfigError
from gensweep.noise import Noise
from gensweep.rescoring.panel import panel_samples, score_panel
from gensweep.results import Outcome, SamplingConfig, Score
from gensweep.training.checkpoint import read, tensor_names
from gensweep.training.cost import counted_calls
from gensweep.training.device import default_device, synchronised_time
from gensweep.training.evaluation import Evaluator, draw, evaluate, sample_labels
from gensweep.training.learner_state import weights_in
from gensweep.training.result_files import SUSPECTS_COLUMNS, SUSPECTS_FILE, write_grid
from gensweep.training.settings import EvaluationSettings


class Rescorer:
    """Scores the model in a checkpoint folder with `samples` images of a seed, by default as in its training.

    `changed` are changed settings of the evaluation, by dotted key.  `known` are earlier outcomes of the trial.  A
    `panel` scores by all of its measures instead, by default few images.
    """

    def __init__(
        self,
        folder: Path,
        *,
        known: Sequence[Outcome] = (),
        samples: int | None = None,
        seed: int = 0,
        changed: Mapping[str, Any] = MappingProxyType({}),
        panel: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        self.folder, self.seed, self.changed, self.panel = folder, seed, dict(changed), panel
        self.checkpoint = read(folder)
        self.trial = TrialConfig.from_dict(self.checkpoint.metadata)
        self.trained = _sampling_of(self.trial)
        self.samples: int = samples or (panel_samples(self.trial) if panel else self.trial.flat()["evaluation.samples"])
        self.device = torch.device(device) if device is not None else default_device()
        asked = (self.checkpoint.sha256, self.samples, seed, json.dumps(self.changed, sort_keys=True), panel)
        #: Earlier outcomes with the same checkpoint, images, seed and settings, by sampling configuration.
        self.known = {each.sampling: each for each in known if _asked(each) == asked}

    def configs(
        self,
        *,
        sampler: Sequence[str] = (),
        steps: Sequence[int | None] = (),
        guidance: Sequence[float] = (),
        ema: Sequence[str] = (),
    ) -> list[SamplingConfig]:
        """Every combination of the values, each checked, in the order of the values; steps change fastest.

        A setting without values stays as in training.  None steps means all steps.  `ema` are multiples of the main
        half-life, or "raw".  Raises ConfigError with all problems if the model does not support a combination.
        """
        trained, kept = self.trained, weights_in(tensor_names(self.folder))
        if guidance and trained.guidance is None and "guidance" in self.trial.as_dict()["family"]:
            raise ConfigError(f"guidance={guidance[0]:g}: this model was trained without labels; omit it")
        weights, found, problems = list[str](), list[SamplingConfig](), list[str]()
        for text in ema or kept[:1]:
            try:
                weights.append(weights_name(text, kept))
            except ConfigError as error:
                problems += error.problems
        for kind, scale in product(sampler or (trained.sampler,), guidance or (trained.guidance,)):
            combinations = []
            for number in steps or (trained.steps,):
                try:
                    trial = self.trial_of(SamplingConfig(kind, number, scale))
                    family = build_family(trial, self.checkpoint.shape, len(self.checkpoint.class_names))
                    combinations.append(replace(_sampling_of(trial), evaluations=counted_calls(family).calls))
                except ConfigError as error:
                    problems += error.problems
            found += [replace(sampling, weights=each) for each in weights for sampling in combinations]
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return list(dict.fromkeys(found))

    def trial_of(self, sampling: SamplingConfig) -> TrialConfig:
        """The trial with a sampling configuration.  Raises ConfigError if that is invalid."""
        return self.trial.with_overrides(self.overrides(sampling))

    def overrides(self, sampling: SamplingConfig) -> dict[str, Any]:
        """Changes of a sampling configuration to the trial, by dotted key."""
        trained, changes = self.trained, dict[str, Any]()
        if sampling.sampler != trained.sampler:
            changes["sampler.kind"] = sampling.sampler
        if sampling.steps != (trained.steps if sampling.sampler == trained.sampler else None):
            changes["sampler.steps"] = sampling.steps
        if sampling.guidance not in (None, trained.guidance):
            changes["family.guidance"] = sampling.guidance
        return changes

    def missing(self, configs: Sequence[SamplingConfig]) -> list[SamplingConfig]:
        """The configurations without a score for the current references.  Raises ConfigError for damaged ones."""
        references = current_references(self._evaluated)

        def is_current(score: Score) -> bool:
            return references.get(score.metric, score.identity.reference) == score.identity.reference

        return [
            each
            for each in configs
            if each not in self.known or not all(map(is_current, self.known[each].scores.values()))
        ]

    def run(
        self, configs: Sequence[SamplingConfig], progress: Callable[[int], None] = lambda evaluations: None
    ) -> Iterator[Outcome]:
        """Score the model with each configuration, the cheapest first.

        `progress` is called with the number of network evaluations so far.
        """
        images, done = load_images(self._evaluated), 0
        evaluator = None if self.panel else build_evaluator(self._evaluated, images, self.device)
        for sampling in sorted(configs, key=lambda each: each.evaluations):
            yield self._score(sampling, images, evaluator, done, progress)
            done += sampling.evaluations * self.drawn

    @property
    def drawn(self) -> int:
        """The number of generated images for one outcome: few if only a likelihood is computed."""
        settings: EvaluationSettings = self._evaluated.bound("evaluation")()
        return settings.drawn

    @property
    def _evaluated(self) -> TrialConfig:
        """The trial with the settings of this score."""
        return self.trial.with_overrides({**self.changed, "evaluation.samples": self.samples})

    def _score(
        self,
        sampling: SamplingConfig,
        images: Images,
        evaluator: Evaluator | None,
        done: int,
        progress: Callable[[int], None],
    ) -> Outcome:
        changes = self.overrides(sampling)
        model = load_checkpoint(self.folder, overrides=changes, weights=sampling.weights, device=self.device)

        def show(drawn: int) -> None:
            progress(done + drawn * sampling.evaluations)

        about = Outcome(
            sampling=sampling,
            samples=self.samples,
            seed=self.seed,
            scores={},
            sample_seconds=0.0,
            evaluate_seconds=0.0,
            device=self.device.type,
            checkpoint=self.checkpoint.sha256,
            time=time.time(),
            as_trained=not changes,
            changed=self.changed,
        )
        if evaluator is None:
            return self._score_by_panel(model, images, about, show)
        identities = {name: replace(each, weights=sampling.weights) for name, each in evaluator.identities.items()}
        evaluator = replace(evaluator, identities=identities)
        result = evaluate(model.family, model.network, evaluator, key=self.seed, progress=show)
        if result.suspects is not None:
            write_grid(result.suspects, self.folder / SUSPECTS_FILE, SUSPECTS_COLUMNS)
        return replace(
            about,
            scores=result.scores,
            sample_seconds=result.sample_seconds,
            evaluate_seconds=result.evaluate_seconds,
            time=time.time(),
            signals=result.signals,
        )

    def _score_by_panel(self, model: Model, images: Images, about: Outcome, show: Callable[[int], None]) -> Outcome:
        labels = sample_labels(images.class_counts, Noise(self.seed, torch.arange(self.samples, device=self.device)))
        started = synchronised_time(self.device)
        pixels = in_batches(
            lambda indices: draw(model.family, model.network, Noise(self.seed, indices), labels[indices]),
            self.samples,
            self._evaluated.flat()["evaluation.batch_size"],
            self.device,
            lambda drawn, _: show(drawn),
        )
        about = replace(about, sample_seconds=synchronised_time(self.device) - started)
        known = labels if model.family.classes else None
        return score_panel(self._evaluated.with_overrides, images, pixels, known, about, self.device)


def _asked(outcome: Outcome) -> tuple[str, int, int, str, bool]:
    """The settings of an outcome besides its sampling configuration."""
    changed = json.dumps(dict(outcome.changed), sort_keys=True)
    return outcome.checkpoint, outcome.samples, outcome.seed, changed, outcome.panel


def _sampling_of(trial: TrialConfig) -> SamplingConfig:
    """The sampling configuration of a trial's model; weights and cost are unset."""
    tree = trial.as_dict()
    sampler: dict[str, Any] = tree.get("sampler", {})
    guidance = tree["family"].get("guidance") if tree["family"].get("conditional", True) else None
    settings = tuple((name, value) for name, value in sampler.items() if name not in ("kind", "steps"))
    return SamplingConfig(sampler.get("kind"), sampler.get("steps"), guidance, settings=settings)
