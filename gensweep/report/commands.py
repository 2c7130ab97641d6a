"""Commands that repeat a result, or make one comparable, as a person would type them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from gensweep.config import registries
from gensweep.config.checks import likelihood_families
from gensweep.config.yaml import read_value
from gensweep.ranking import Ranking
from gensweep.results import Identity
from gensweep.tracking.records import SweepRecord, TrialRecord
from gensweep.tracking.run_writer import MAX_TAG_LENGTH

#: How MLflow holds a setting that is null.
NULL = "null"
#: Characters of a sweep's name, of which at most 64 are allowed, that leave room for a number.
MAX_STEM = 60


def reproduce_command(trial: TrialRecord) -> str:
    """The command that trains the same configuration again, or evaluates the same images."""
    return evaluate_command(trial) if trial.imported else f"gensweep train --from-run {shlex.quote(trial.typed)}"


def evaluate_command(trial: TrialRecord, like: str | None = None) -> str:
    """The command that evaluates imported images again, as those of `like` were; by default as they were."""
    path, options = trial.config.get("family.path", "FOLDER"), list(_generator_options(trial.config))
    words = ["--torchscript", path, "--trust"] if trial.family == "torchscript" else [path]
    named = ["--like", like or trial.sweep, "--name", trial.sweep, "--replace"]
    return shlex.join(["gensweep", "evaluate", *words, *options, *named])


def _generator_options(config: Mapping[str, str]) -> Iterator[str]:
    """The options of `gensweep evaluate` for what draws images, a folder of which has none."""
    given = {key: text for key, text in config.items() if text != NULL}
    if "family.latent" in given:
        yield from ("--latent", _listed(given["family.latent"]))
    if given.get("family.trusted") == "true":
        yield "--trust"
    for key, text in given.items():
        if key.startswith("family.call."):
            yield from ("--call", f"{key.removeprefix('family.call.')}={_yaml(text)}")
    if "family.classes" in given:
        yield from ("--classes", given["family.classes"])
    if "family.output_range" in given:
        yield f"--output-range={_listed(given['family.output_range'])}"
    if given.get("seed", "0") != "0":
        yield from ("--seed", given["seed"])


def _listed(text: str) -> str:
    """A list of numbers as options take it."""
    return text.strip("[]").replace(" ", "")


def why_never_alike(found: TrialRecord, like: TrialRecord) -> str | None:
    """Why no other training could give trials such as `found` the score that `like` has; None if one could."""
    assert found.objective is not None
    assert like.objective is not None
    own, wanted = found.objective.identity, like.objective.identity
    if found.config.get("finetune.base", NULL) != NULL and own.reference != wanted.reference:
        return "a fine-tuning is judged on the images that it learns from"
    if wanted.timesteps is not None and own.timesteps is None and found.family not in likelihood_families():
        return f"the family {found.family} has no likelihood"
    return None


def search_again_command(
    sweep: SweepRecord, found: TrialRecord, like: TrialRecord, taken: Collection[str]
) -> str | None:
    """The command that runs a sweep again so that its scores, such as that of `found`, are as that of `like` is.

    The new sweep's name is none of those `taken`.  Where the sweep's own command is not on record, its best trial is
    trained again.  None where MLflow holds no more than a part of a setting that it takes.
    """
    words = _words(sweep.command)
    verb = words[1] if len(words) > 2 and words[0] == "gensweep" else ""
    if verb not in ("tune", "train", "finetune") or {"--resume", "--extend", "--repeat"} & set(words):
        verb, words = "train", ["gensweep", "train", "--from-run", next(iter(Ranking(sweep.trials))).typed]
    name = next(name for n in range(2, len(taken) + 3) if (name := f"{sweep.name[:MAX_STEM]}-{n}") not in taken)
    try:
        changes = _changes(found, like, searched=verb == "tune")
    except ValueError:  # a list that MLflow holds the beginning of
        return None
    sets = [word for key, text in changes.items() for word in ("--set", f"{key}={_yaml(text)}")]
    return shlex.join([*_without_name(words), "--name", name, *sets])


def _words(command: str) -> list[str]:
    """The words of a command; none of one of which MLflow holds the beginning."""
    try:
        return [] if len(command) >= MAX_TAG_LENGTH else shlex.split(command)
    except ValueError:
        return []


def _without_name(words: Sequence[str]) -> Iterator[str]:
    """A command's words but for those that name its sweep."""
    following = iter(words)
    for word in following:
        if word == "--name":
            next(following, None)
        elif word == "--set" and (change := next(following, "")):
            yield from () if change.startswith("name=") else (word, change)
        elif not word.startswith(("--name=", "--set=name=")):
            yield word


def _changes(found: TrialRecord, like: TrialRecord, *, searched: bool) -> dict[str, str]:
    """The settings that give trials such as `found` the score that `like` has, as MLflow holds them, by dotted key."""
    assert found.objective is not None
    assert like.objective is not None
    wanted, changes = like.objective.identity, dict[str, str]()
    parts = wanted.differences(found.objective.identity)
    likelihood = wanted.timesteps is not None
    if "reference" in parts or likelihood != (found.objective.identity.timesteps is not None):
        changes |= _differing(found.config, like.config, "data.")
        if not _limited(like.config, wanted):
            changes.pop("data.limit", None)
        changes |= _labels(found, changes)
        changes |= _differing(
            found.config, like.config, f"evaluation.{'likelihood.split' if likelihood else 'against'}"
        )
    if "extractor" in parts and wanted.extractor is not None:
        changes |= _differing(found.config, like.config, "evaluation.extractor.") or {
            "evaluation.extractor.kind": wanted.extractor.partition("/")[0]
        }
    if "metric" in parts or "extractor" in parts:
        changes |= _metrics(found, wanted, searched=searched)
    if "metric" in parts and searched:
        changes |= {"objective.metric": wanted.metric, "objective.mode": like.objective.mode}
    changes |= _likelihood(wanted, parts) if likelihood else _samples(found, wanted, parts)
    if "weights" in parts:
        changes["training.ema_half_life"] = like.config.get("training.ema_half_life", "0")
    return changes


def _limited(config: Mapping[str, str], wanted: Identity) -> bool:
    """Whether a limit on the images of a training is one on those that its score compares with, too."""
    if wanted.timesteps is not None:
        return config.get("evaluation.likelihood.split") == "train"
    if config.get("evaluation.against", "train") in ("train", "test"):
        return True
    metrics = registries.metrics()
    return wanted.metric not in metrics or bool(metrics[wanted.metric].of_training)


def _metrics(found: TrialRecord, wanted: Identity, *, searched: bool) -> dict[str, str]:
    """The metrics with the wanted one among them, and first where no search names its objective.

    Other metrics may be of the features of one extractor only, so they do not go to another one.
    """
    written: list[str] = json.loads(found.config.get("evaluation.metrics", "[]"))
    assert found.objective is not None
    alike = found.objective.identity.extractor == wanted.extractor and wanted.metric in written
    metrics = [wanted.metric, *(name for name in written if alike and name != wanted.metric)]
    return {} if metrics == written or (alike and searched) else {"evaluation.metrics": json.dumps(metrics)}


def _labels(found: TrialRecord, changes: Mapping[str, str]) -> dict[str, str]:
    """Of one class no model can be conditional."""
    classes = json.loads(changes.get("data.classes", NULL))
    if classes is None or len(classes) > 1 or found.config.get("family.conditional") != "true":
        return {}
    unguided = {"family.conditional": "false", "family.guidance": "1.0", "family.guidance_interval": NULL}
    return {key: text for key, text in unguided.items() if found.config.get(key, text) != text}


def _likelihood(wanted: Identity, parts: Collection[str]) -> dict[str, str]:
    timesteps = NULL if wanted.timesteps == "all" else str(wanted.timesteps)
    values = {
        "samples": ("images", str(wanted.samples)),
        "timesteps": ("timesteps", timesteps),
        "latents": ("latents", str(wanted.latents)),
    }
    return {f"evaluation.likelihood.{key}": text for part, (key, text) in values.items() if part in parts}


def _samples(found: TrialRecord, wanted: Identity, parts: Collection[str]) -> dict[str, str]:
    """Numbers of images and steps; a score of fewer before the end of a trial becomes a whole one."""
    assert found.objective is not None
    own, config = found.objective.identity, found.config
    early = found.status != "finished" and config.get("evaluation.rung_samples") == str(own.samples)
    at_a_rung = own.steps is not None or early
    whole = config.get("evaluation.samples", str(wanted.samples)) if at_a_rung else str(own.samples)
    changes = {} if whole == str(wanted.samples) else {"evaluation.samples": str(wanted.samples)}
    rungs = {f"evaluation.rung_{part}": NULL for part in ("samples", "steps") if part in parts and at_a_rung}
    return changes | rungs


def _differing(found: Mapping[str, str], like: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The settings of `like` under a prefix that differ; all that are not null if the kind is another one."""
    kind = f"{prefix}kind"
    wanted = {key: like[key] for key in sorted(like, key=lambda key: key != kind) if key.startswith(prefix)}
    if kind in wanted and wanted[kind] != found.get(kind):
        return {key: text for key, text in wanted.items() if text != NULL}
    return {key: text for key, text in wanted.items() if text != found.get(key)}


def _yaml(text: str) -> str:
    """A setting as MLflow holds it, text plain and all else as JSON, as one would write it behind `--set KEY=`."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    reading = read_value(text, "")
    return text if not reading.problems and reading.value == value else json.dumps(value, ensure_ascii=False)
