"""What came out of each way to draw images that was tried on a checkpoint, kept beside it as `evaluations.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from filelock import FileLock

from gensweep.build.model import load_checkpoint
from gensweep.build.parts import build_evaluator, default_device, load_images
from gensweep.build.sampling_configs import sampling_overrides
from gensweep.config import TrialConfig
from gensweep.errors import GensweepError
from gensweep.files import write_text
from gensweep.results import OUTCOMES_FORMAT, Identity, Outcome, SamplingConfig, outcome_key
from gensweep.training.checkpoint import SUSPECTS_FILE, read
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import Evaluator, evaluate, scores_of, write_pairs

__all__ = ["FILE", "known_outcomes", "samples_of", "try_sampling_configs"]

FILE = "evaluations.json"


def samples_of(folder: Path) -> int:
    """By how many images the model in a checkpoint was judged in its training."""
    return int(TrialConfig.from_dict(read(folder).metadata).as_dict()["evaluation"]["samples"])


def known_outcomes(folder: Path) -> list[Outcome]:
    """What has been tried on a checkpoint before.  Raises GensweepError if the file cannot be read."""
    file = folder / FILE
    try:
        record = json.loads(file.read_text())
        if record["format"] < OUTCOMES_FORMAT:
            return []  # an earlier version did not know all settings of a sampler
        if record["format"] > OUTCOMES_FORMAT:
            raise GensweepError(
                f"{file} has format {record['format']}, but this gensweep reads {OUTCOMES_FORMAT}; move it away"
            )
        found = [Outcome.from_dict(values) for values in record["outcomes"]]
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
    changed: Mapping[str, Any] = MappingProxyType({}),
    device: torch.device | str | None = None,
    progress: Callable[[SamplingConfig, int], None] | None = None,
) -> Iterator[Outcome]:
    """Evaluate the model in a checkpoint folder in each wanted way, as in its training; what is known comes at once.

    Cheap ways come first, and each outcome is on disk before it is yielded, so a later call goes on where this one was
    stopped.  `samples` and the noise are by default those of the evaluations in training; `changed` are other
    settings of these, by dotted key.  `progress` gets the number of images that have been drawn in a way so far.
    """
    count = samples_of(folder) if samples is None else samples
    known = {outcome.key: outcome for outcome in known_outcomes(folder)}
    ordered = sorted(wanted, key=lambda way: way.evaluations)
    evaluator, where = None, torch.device(device) if device is not None else default_device()
    if any(outcome_key(way, count, seed, changed) not in known for way in ordered):
        changes = {**changed, "evaluation.samples": count}
        trial = TrialConfig.from_dict(read(folder).metadata).with_overrides(changes)
        evaluator = build_evaluator(trial, load_images(trial), where)
    for way in ordered:
        outcome = known.get(outcome_key(way, count, seed, changed))
        # Other images or another extractor of the same name: what was measured then is not what is asked for now.
        if evaluator is not None and (outcome is None or _identities(outcome) != _identities_of(evaluator, way)):
            found = _try(folder, way, evaluator, where, seed, progress)
            outcome = replace(found, samples=count, changed=dict(changed), usual=found.usual and not changed)
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
    changes = sampling_overrides(way, TrialConfig.from_dict(checkpoint.metadata))
    model = load_checkpoint(folder, overrides=changes, weights=way.weights, device=device)
    network = model.family.networks[model.family.sampled]
    told = None if progress is None else lambda done: progress(way, done)
    result = evaluate(model.family, network, evaluator, workers=Workers(), key=seed, progress=told)
    if result.suspects is not None:
        write_pairs(result.suspects, folder / SUSPECTS_FILE)
    return Outcome(
        sampling=way,
        samples=evaluator.samples,
        seed=seed,
        scores=scores_of(replace(evaluator, identities=_identities_of(evaluator, way)), result),
        sample_seconds=result.sample_seconds,
        evaluate_seconds=result.evaluate_seconds,
        device=device.type,
        checkpoint=checkpoint.sha256,
        time=time.time(),
        signals=result.signals,
        usual=not changes,
    )


def _identities_of(evaluator: Evaluator, way: SamplingConfig) -> dict[str, Identity]:
    return {name: replace(identity, weights=way.weights) for name, identity in evaluator.identities.items()}


def _identities(outcome: Outcome) -> dict[str, Identity]:
    return {name: score.identity for name, score in outcome.scores.items()}


def _keep(folder: Path, outcome: Outcome) -> None:
    """Put an outcome into the file, in place of an older one of the same way."""
    file = folder / FILE
    try:
        with FileLock(file.with_suffix(".lock")):
            rest = [each.as_dict() for each in known_outcomes(folder) if each.key != outcome.key]
            record = {"format": OUTCOMES_FORMAT, "outcomes": [*rest, outcome.as_dict()]}
            write_text(file, json.dumps(record, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise GensweepError(f"{file} cannot be written ({error}); copy the checkpoint to where it can") from error
