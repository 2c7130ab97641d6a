"""What came out of each way to draw images that was tried on a checkpoint, kept beside it as `evaluations.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from filelock import FileLock

from gensweep.build.model import load_checkpoint
from gensweep.build.parts import build_evaluator, default_device, load_images
from gensweep.build.sampling_configs import SamplingConfig
from gensweep.config import TrialConfig
from gensweep.errors import GensweepError
from gensweep.metrics.identity import MetricIdentity
from gensweep.training.checkpoint import SUSPECTS_FILE, read
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import Evaluator, evaluate, write_pairs

__all__ = ["FILE", "Outcome", "known_outcomes", "outcome_key", "samples_of", "try_sampling_configs"]

FILE = "evaluations.json"
FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    """The scores of images that were drawn in one way, with what each is a score of, and what it took.

    `checkpoint` is the hash of its tensors; `time` is when it was measured, in seconds since 1970.  `signals` are what
    else the features tell, as in an EvaluationResult; it is `usual` if no setting of the training was changed.
    `judged` are the settings of the evaluation that were changed, by dotted key.
    """

    alternative: SamplingConfig
    samples: int
    seed: int
    scores: dict[str, float]
    identities: dict[str, dict[str, Any]]
    sample_seconds: float
    evaluate_seconds: float
    device: str
    checkpoint: str
    time: float
    signals: dict[str, float] = field(default_factory=dict)
    usual: bool = False
    judged: dict[str, Any] = field(default_factory=dict)

    def corrected(self, metric: str) -> float | None:
        """The score for endless images, if the metric can tell."""
        return self.signals.get(f"{metric}/corrected")

    def error(self, metric: str) -> float | None:
        """The standard error of that."""
        return self.signals.get(f"{metric}/error")


def samples_of(folder: Path) -> int:
    """By how many images the model in a checkpoint was judged in its training."""
    return int(TrialConfig.from_dict(read(folder).metadata).as_dict()["evaluation"]["samples"])


def known_outcomes(folder: Path) -> list[Outcome]:
    """What has been tried on a checkpoint before.  Raises GensweepError if the file cannot be read."""
    file = folder / FILE
    try:
        record = json.loads(file.read_text())
        if record["format"] != FORMAT:
            raise GensweepError(f"{file} has format {record['format']}, but this gensweep reads {FORMAT}; move it away")
        found = [_outcome(values) for values in record["outcomes"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GensweepError(f"{file} is damaged ({error}); delete it, and what was tried is tried again") from None
    checkpoint = read(folder).sha256
    return [outcome for outcome in found if outcome.checkpoint == checkpoint]


def try_sampling_configs(
    folder: Path,
    wanted: Sequence[SamplingConfig],
    *,
    samples: int | None = None,
    seed: int = 0,
    judged: Mapping[str, Any] = MappingProxyType({}),
    device: torch.device | str | None = None,
    progress: Callable[[SamplingConfig, int], None] | None = None,
) -> Iterator[Outcome]:
    """Evaluate the model in a checkpoint folder in each wanted way, as in its training; what is known comes at once.

    Cheap ways come first, and each outcome is on disk before it is yielded, so a later call goes on where this one was
    stopped.  `samples` and the noise are by default those of the evaluations in training; `judged` changes other
    settings of these, by dotted key.  `progress` gets the number of images that have been drawn in a way so far.
    """
    count = samples_of(folder) if samples is None else samples
    known = {_key(outcome): outcome for outcome in known_outcomes(folder)}
    ordered = sorted(wanted, key=lambda way: way.evaluations)
    evaluator, where = None, torch.device(device) if device is not None else default_device()
    if any(outcome_key(way, count, seed, judged) not in known for way in ordered):
        changes = {**judged, "evaluation.samples": count}
        trial = TrialConfig.from_dict(read(folder).metadata).with_overrides(changes)
        evaluator = build_evaluator(trial, load_images(trial), where)
    for way in ordered:
        outcome = known.get(outcome_key(way, count, seed, judged))
        # Other images or another extractor of the same name: what was measured then is not what is asked for now.
        if evaluator is not None and (outcome is None or outcome.identities != _identities(evaluator, way)):
            found = _try(folder, way, evaluator, where, seed, progress)
            outcome = replace(found, samples=count, judged=dict(judged), usual=found.usual and not judged)
            _keep(folder, outcome)
        assert outcome is not None
        yield outcome


def _try(
    folder: Path,
    way: SamplingConfig,
    evaluator: Evaluator,
    device: torch.device,
    seed: int,
    progress: Callable[[SamplingConfig, int], None] | None,
) -> Outcome:
    checkpoint = read(folder)
    changes = way.overrides(TrialConfig.from_dict(checkpoint.metadata))
    model = load_checkpoint(folder, overrides=changes, weights=way.weights, device=device)
    network = model.family.networks[model.family.sampled]
    told = None if progress is None else lambda done: progress(way, done)
    result = evaluate(model.family, network, evaluator, workers=Workers(), key=seed, progress=told)
    if result.suspects is not None:
        write_pairs(result.suspects, folder / SUSPECTS_FILE)
    return Outcome(
        alternative=way,
        samples=evaluator.samples,
        seed=seed,
        scores=result.scores,
        identities=_identities(evaluator, way),
        sample_seconds=result.sample_seconds,
        evaluate_seconds=result.evaluate_seconds,
        device=device.type,
        checkpoint=checkpoint.sha256,
        time=time.time(),
        signals=result.signals,
        usual=not changes,
    )


def _identities(evaluator: Evaluator, way: SamplingConfig) -> dict[str, dict[str, Any]]:
    return {name: replace(identity, weights=way.weights).as_dict() for name, identity in evaluator.identities.items()}


def _keep(folder: Path, outcome: Outcome) -> None:
    """Put an outcome into the file, in place of an older one of the same way."""
    file = folder / FILE
    try:
        with FileLock(file.with_suffix(".lock")):
            rest = [o for o in known_outcomes(folder) if _key(o) != _key(outcome)]
            record = {"format": FORMAT, "outcomes": [asdict(each) for each in [*rest, outcome]]}
            aside = file.with_suffix(".new")
            aside.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
            aside.replace(file)
    except OSError as error:
        raise GensweepError(f"{file} cannot be written ({error}); copy the checkpoint to where it can") from error


def outcome_key(
    way: SamplingConfig, samples: int, seed: int, judged: Mapping[str, Any]
) -> tuple[SamplingConfig, int, int, str]:
    """By what an outcome is known."""
    return way, samples, seed, json.dumps(dict(judged), sort_keys=True)


def _key(outcome: Outcome) -> tuple[SamplingConfig, int, int, str]:
    return outcome_key(outcome.alternative, outcome.samples, outcome.seed, outcome.judged)


def _outcome(values: dict[str, Any]) -> Outcome:
    """The inverse of `asdict`; keys of later versions are ignored."""
    known = {each.name: values[each.name] for each in fields(Outcome) if each.name in values}
    alternative = {each.name: values["alternative"][each.name] for each in fields(SamplingConfig)}
    identities = {name: MetricIdentity.from_dict(each).as_dict() for name, each in values["identities"].items()}
    # Outcomes of earlier versions have fewer keys.
    return Outcome(**known | {"alternative": SamplingConfig(**alternative), "identities": identities})
