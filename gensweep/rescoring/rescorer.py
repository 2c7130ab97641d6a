"""Score a trained model with other sampling configurations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from gensweep.build.model import load_checkpoint, weights_name
from gensweep.build.parts import build_evaluator, build_family, current_references, load_images
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.results import Outcome, SamplingConfig, outcome_key
from gensweep.training.checkpoint import read, tensor_names
from gensweep.training.cost import counted_calls
from gensweep.training.device import default_device
from gensweep.training.evaluation import Evaluator, evaluate
from gensweep.training.learner_state import weights_in
from gensweep.training.result_files import SUSPECTS_COLUMNS, SUSPECTS_FILE, write_grid
from gensweep.training.settings import EvaluationSettings


@dataclass(frozen=True)
class Axes:
    """The values to try of each setting, in all combinations; without any, a setting stays as it was in training.

    A number of steps of None means every step that there is.  `ema` are multiples of the main half-life, or "raw".
    """

    sampler: tuple[str, ...] = ()
    steps: tuple[int | None, ...] = ()
    guidance: tuple[float, ...] = ()
    ema: tuple[str, ...] = ()


class Rescorer:
    """Scores the model in a checkpoint folder with `samples` images of a seed, by default as in its training.

    `changed` are other settings of the evaluation, by dotted key.  `known` are earlier outcomes of the trial; those of
    this checkpoint are not computed again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        known: Sequence[Outcome] = (),
        samples: int | None = None,
        seed: int = 0,
        changed: Mapping[str, Any] = MappingProxyType({}),
        device: torch.device | str | None = None,
    ) -> None:
        self.folder, self.seed, self.changed = folder, seed, dict(changed)
        self.checkpoint = read(folder)
        self.known = [outcome for outcome in known if outcome.checkpoint == self.checkpoint.sha256]
        self.trial = TrialConfig.from_dict(self.checkpoint.metadata)
        self.trained = _sampling_of(self.trial)
        self.samples: int = samples or self.trial.flat()["evaluation.samples"]
        self.device = torch.device(device) if device is not None else default_device()

    @property
    def settings(self) -> dict[str, Any]:
        """Those with which a copy of the folder is scored likewise, on a device of its own."""
        return {"samples": self.samples, "seed": self.seed, "changed": self.changed}

    def configs(self, axes: Axes) -> list[SamplingConfig]:
        """Every combination of the values, each checked, in the order of the values; steps change fastest.

        Raises ConfigError with all problems if the model cannot draw images with one of them.
        """
        self._check(axes)
        trained, kept = self.trained, weights_in(tensor_names(self.folder))
        costs = {replace(each.sampling, weights="", evaluations=0): each.sampling.evaluations for each in self.known}
        weights, found, problems = list[str](), list[SamplingConfig](), list[str]()
        for text in axes.ema or kept[:1]:
            try:
                weights.append(weights_name(text, kept))
            except ConfigError as error:
                problems += error.problems
        for sampler, guidance in product(axes.sampler or [trained.sampler], axes.guidance or [trained.guidance]):
            combinations = []
            for steps in axes.steps or [trained.steps]:
                try:
                    trial = self.trial_of(SamplingConfig(sampler, steps, guidance, ""))
                    sampling = _sampling_of(trial)
                    combinations.append(replace(sampling, evaluations=costs.get(sampling) or self._evaluations(trial)))
                except ConfigError as error:
                    problems += error.problems
            found += [replace(sampling, weights=each) for each in weights for sampling in combinations]
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return list(dict.fromkeys(found))

    def trial_of(self, sampling: SamplingConfig) -> TrialConfig:
        """The trial with a sampling configuration.  Raises ConfigError if there is no such trial."""
        return self.trial.with_overrides(self.overrides(sampling))

    def overrides(self, sampling: SamplingConfig) -> dict[str, Any]:
        """What a sampling configuration changes in the trial, by dotted key."""
        trained, changes = self.trained, dict[str, Any]()
        if sampling.sampler != trained.sampler:
            changes["sampler.kind"] = sampling.sampler
        if sampling.steps != (trained.steps if sampling.sampler == trained.sampler else None):
            changes["sampler.steps"] = sampling.steps
        if sampling.guidance not in (None, trained.guidance):
            changes["family.guidance"] = sampling.guidance
        return changes

    def missing(self, configs: Sequence[SamplingConfig]) -> list[SamplingConfig]:
        """The configurations without a known score by the pictures or statistics as they are now.

        Raises ConfigError if statistics are damaged.
        """
        known = {outcome.key: outcome for outcome in self.known}
        references = current_references(self._evaluated)
        found = {each: known.get(outcome_key(each, self.samples, self.seed, self.changed)) for each in configs}
        return [each for each, outcome in found.items() if outcome is None or _is_outdated(outcome, references)]

    def run(
        self, configs: Sequence[SamplingConfig], progress: Callable[[int], None] | None = None
    ) -> Iterator[Outcome]:
        """Score the model with each configuration, the cheapest first; known outcomes are yielded at once.

        `progress` gets the number of network evaluations so far.
        """
        known = {outcome.key: outcome for outcome in self.known}
        evaluator, done = None, 0
        if self.missing(configs):
            evaluator = build_evaluator(self._evaluated, load_images(self._evaluated), self.device)
        for sampling in sorted(configs, key=lambda each: each.evaluations):
            outcome = known.get(outcome_key(sampling, self.samples, self.seed, self.changed))
            if evaluator is not None:
                identities = {
                    name: replace(each, weights=sampling.weights) for name, each in evaluator.identities.items()
                }
                # Other images or another extractor of the same name: what was measured then is not what is asked for.
                if outcome is None or {name: score.identity for name, score in outcome.scores.items()} != identities:
                    outcome = self._score(sampling, replace(evaluator, identities=identities), done, progress)
                    done += sampling.evaluations * self.drawn
            assert outcome is not None
            yield outcome

    def _check(self, axes: Axes) -> None:
        """Raise ConfigError for settings that the model does not have at all."""
        trained, family, problems = self.trained, self.trial.kind("family"), []
        if trained.sampler is None and axes.sampler:
            problems.append(f"sampler={axes.sampler[0]}: the family {family} draws images without a sampler")
        if trained.sampler is None and axes.steps:
            problems.append(f"steps={axes.steps[0]}: the family {family} draws an image in one step")
        if trained.guidance is None and axes.guidance:
            labels = "this model was trained without labels"
            reason = labels if trained.sampler else f"the family {family} has no guidance"
            problems.append(f"guidance={axes.guidance[0]:g}: {reason}")
        if problems:
            raise ConfigError([f"{problem}; leave it out" for problem in problems])

    @property
    def drawn(self) -> int:
        """Images that a scoring draws: of a likelihood alone a few, for people to look at."""
        settings: EvaluationSettings = self._evaluated.bound("evaluation")()
        return settings.drawn(last=True)

    @property
    def _evaluated(self) -> TrialConfig:
        """The trial as it is scored."""
        return self.trial.with_overrides({**self.changed, "evaluation.samples": self.samples})

    def _score(
        self, sampling: SamplingConfig, evaluator: Evaluator, done: int, progress: Callable[[int], None] | None
    ) -> Outcome:
        changes = self.overrides(sampling)
        model = load_checkpoint(self.folder, overrides=changes, weights=sampling.weights, device=self.device)

        def drawn(images: int) -> None:
            if progress is not None:
                progress(done + images * sampling.evaluations)

        result = evaluate(model.family, model.network, evaluator, key=self.seed, progress=drawn)
        if result.suspects is not None:
            write_grid(result.suspects, self.folder / SUSPECTS_FILE, SUSPECTS_COLUMNS)
        return Outcome(
            sampling=sampling,
            samples=self.samples,
            seed=self.seed,
            scores=result.scores,
            sample_seconds=result.sample_seconds,
            evaluate_seconds=result.evaluate_seconds,
            device=self.device.type,
            checkpoint=self.checkpoint.sha256,
            time=time.time(),
            signals=result.signals,
            as_trained=not changes,
            changed=self.changed,
        )

    def _evaluations(self, trial: TrialConfig) -> int:
        """Evaluations of the network for an image.  Raises ConfigError for settings that do not fit together."""
        family = build_family(trial, self.checkpoint.shape, len(self.checkpoint.class_names))
        return counted_calls(family).calls


def _sampling_of(trial: TrialConfig) -> SamplingConfig:
    """How a trial's model draws images; which weights do, and what it costs, is left open."""
    tree = trial.as_dict()
    sampler: dict[str, Any] = tree.get("sampler", {})
    guidance = tree["family"].get("guidance") if tree["family"].get("conditional", True) else None
    settings = tuple((name, value) for name, value in sampler.items() if name not in ("kind", "steps"))
    return SamplingConfig(sampler.get("kind"), sampler.get("steps"), guidance, "", settings=settings)


def _is_outdated(outcome: Outcome, references: Mapping[str, str]) -> bool:
    """True if a score was measured by another reference than its metric has now."""
    measured = {metric: score.identity.reference for metric, score in outcome.scores.items()}
    return any(references.get(metric, reference) != reference for metric, reference in measured.items())
