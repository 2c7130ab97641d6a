"""Build the parts of a trial from its TrialConfig: data, family, learner and evaluator; and run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch

from gensweep.config import TrialConfig
from gensweep.config.models import bind
from gensweep.data.image_folder import check_one_set
from gensweep.data.images import FETCHERS, NAMED_DATASETS, Images
from gensweep.data.url_folder import local_copy
from gensweep.errors import ConfigError, GensweepError, OutsideError, ParameterError
from gensweep.families.family import Family
from gensweep.files import cache_folder, expanded
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.metric import METRICS, require_generated
from gensweep.metrics.real import Real, reference_name, spread
from gensweep.metrics.statistics import STATISTICS_SUFFIX, Statistics, read_statistics
from gensweep.metrics.weights import PUBLISHED
from gensweep.remote_folder import is_url
from gensweep.results import Anchors, Identity, Phase
from gensweep.training.anchors import anchors_of
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import Evaluator
from gensweep.training.loop import Learner
from gensweep.training.reporter import Reporter, WorkerContext
from gensweep.training.settings import EvaluationSettings, TrainingSettings
from gensweep.training.start import FromWeights, Start, Weights
from gensweep.training.trial import run_trial

if TYPE_CHECKING:
    from gensweep.metrics.metric import Metric

Split: TypeAlias = Literal["train", "test", "whole", "whole test"]


def _start(trial: TrialConfig) -> Start:
    return cast(Start, trial.bound("start")())


def with_recorded_start(trial: TrialConfig) -> TrialConfig:
    """The trial with the hash and cost of the weights that it starts from.  Raises GensweepError if they changed."""
    found = _start(trial).recorded()
    return trial.with_overrides({f"start.{key}": value for key, value in found.items()}) if found else trial


def fetch_data(trial: TrialConfig, report: Callable[[str], None]) -> None:
    """Download the data set of a trial if it is missing; `report` is called with lines.  Raises GensweepError."""
    values = trial.flat()
    kind, named = values["data.kind"], {"dataset": values.get("data.dataset")}
    for name in FETCHERS:
        if name == kind or NAMED_DATASETS.get(name) == (kind, named):
            FETCHERS[name](cache_folder(), report=report)
    for path in (values.get("data.path", ""), values["evaluation.against"]):
        if is_url(path) and not path.endswith(".npz"):
            local_copy(path, cache_folder(), report)


def load_images(trial: TrialConfig, split: Split = "train") -> Images:
    """The data set of a trial, with its model's labels; `whole` ignores the limit of a split."""
    data = trial.data.model_copy(update={"limit": None}) if split.startswith("whole") else trial.data
    with trial.keys_in_errors():
        images: Images = bind(data)("test" if split.endswith("test") else "train", cache_folder())
    return _start(trial).images(trial.as_dict(), images)


def build_family(
    trial: TrialConfig, shape: tuple[int, int, int], classes: int, weights: Weights | None = None
) -> Family:
    """The family of a trial for images of a shape (c, h, w), starting from `weights`."""
    with trial.keys_in_errors(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        build = partial(trial.bound("family"), *shape[:2])
        return _start(trial).family(build, classes, weights)


def build_learner(trial: TrialConfig, images: Images, device: torch.device | str, workers: Workers) -> Learner:
    """The family of a trial, ready to train.  Raises GensweepError if its base model has changed."""
    family = build_family(trial, images.shape, images.classes, _start(trial).weights())
    training: TrainingSettings = trial.bound("training")()
    return Learner(family, training, seed=trial.seed, device=device, workers=workers)


def build_extractor(trial: TrialConfig, device: torch.device | str, images: Images) -> Extractor:
    """The feature extractor of the evaluation of a trial that trains on `images`."""
    settings: EvaluationSettings = trial.bound("evaluation")()
    return settings.extractor(device, cache_folder(), images)


def build_evaluator(
    trial: TrialConfig,
    images: Images,
    device: torch.device | str,
    moved: Callable[[Phase | None], None] = lambda _: None,
) -> Evaluator:
    """The evaluator of a trial that trains on `images`; `moved` is called with each phase, and None for progress."""
    settings: EvaluationSettings = trial.bound("evaluation")()
    training: TrainingSettings = trial.bound("training")()
    metrics: dict[str, Metric] = {}
    identities: dict[str, Identity] = {}
    extractor = held_out = None
    with trial.keys_in_errors():
        if settings.of("samples"):
            moved("reading the feature extractor")
            extractor = build_extractor(trial, device, images)
            extractor.register_forward_hook(lambda *_: moved(None))
            moved("computing reference statistics")
            references = _references(trial, images, extractor)
            # Features also give their moments, so metrics that need features come first.
            for name in sorted(references, key=lambda name: METRICS[name].of_moments):
                reference = references[name]
                metrics[name] = METRICS[name](reference, device)
                seen_by = "pixels" if METRICS[name].of_pixels else extractor.id
                identities[name] = settings.identity(name, training, extractor=seen_by, reference=reference.name)
        if of_likelihood := settings.of("likelihood"):
            held_out, split = hold_out(trial, images)
            for name in of_likelihood:
                metrics[name] = METRICS[name](device=device)
                identities[name] = settings.identity(name, training, reference=split, held_out=len(held_out))
    evaluator = Evaluator(settings, images, extractor, metrics, identities, held_out)

    @cache
    def anchors(samples: int) -> Mapping[str, Anchors]:
        moved("computing reference statistics")
        found = anchors_of(evaluator, partial(_unseen, trial, images, "whole test"), cache_folder(), samples)
        moved("scoring")
        return found

    return replace(evaluator, anchors=anchors)


def hold_out(trial: TrialConfig, images: Images) -> tuple[Images, str]:
    """The images for the likelihood, spread evenly over their split, and the name of the split."""
    settings: EvaluationSettings = trial.bound("evaluation")()
    likelihood = settings.likelihood()
    split = images if likelihood.split == "train" else load_images(trial, "whole test")
    if split.class_names != images.class_names:
        raise ConfigError(
            f"evaluation.likelihood.split: {split.name} has the classes {', '.join(split.class_names)}, but the model "
            f"learns {', '.join(images.class_names)}; list their common classes in data.classes"
        )
    chosen = spread(len(split), likelihood.images)
    return replace(split, pixels=split.pixels[chosen], labels=split.labels[chosen]), reference_name(split)


def _references(trial: TrialConfig, images: Images, extractor: Extractor) -> dict[str, Real | Statistics]:
    """The reference of each metric of samples; computes no features yet."""
    settings: EvaluationSettings = trial.bound("evaluation")()
    of_training = Real(images, extractor, cache_folder(), unseen=lambda: _unseen(trial, images))
    chosen = of_training if settings.against == "train" else _reference(trial, images, settings.against, extractor)
    return {name: of_training if METRICS[name].of_training else chosen for name in settings.of("samples")}


def _reference(trial: TrialConfig, images: Images, against: str, extractor: Extractor) -> Real | Statistics:
    """The reference images or statistics, if not the training images.  Raises ParameterError."""
    if against in ("test", "whole"):
        return Real(load_images(trial, cast(Split, against)), extractor, cache_folder())
    if is_folder := against.endswith("/"):
        check_one_set(against)
    data = {"kind": "image_folder", "path": against, "test_fraction": 0.0}
    shape = {"size": images.size, "channels": images.channels}
    try:
        if not is_folder:
            return read_statistics(expanded(against), extractor)
        pictures = load_images(trial.with_overrides({"data": data | shape}))
    except ConfigError as error:
        raise ParameterError("against", str(error).removeprefix("data.path: ")) from error
    return Real(pictures, extractor, cache_folder())


def _unseen(trial: TrialConfig, images: Images, split: Split = "test") -> Images | None:
    """The test split, if there is one with the same classes."""
    with suppress(ConfigError):
        if (found := load_images(trial, split)).class_names == images.class_names:
            return found
    return None


def current_references(trial: TrialConfig) -> dict[str, str]:
    """Fingerprints of the user's own reference pictures or statistics, by metric; missing ones are left out."""
    values = trial.flat()
    against = values["evaluation.against"]
    own = against if against.endswith(("/", STATISTICS_SUFFIX)) else values.get("data.path")
    if own is None or not (is_url(own) or expanded(own).exists()) or missing_weights(trial, "evaluation"):
        return {}
    with trial.keys_in_errors():
        images = load_images(trial)
        references = _references(trial, images, build_extractor(trial, "cpu", images))
    return {metric: reference.name for metric, reference in references.items()}


def run_job(config: Mapping[str, Any], context: WorkerContext, reporter: Reporter) -> None:
    """Run a trial, given as plain values, to its end in each of its workers."""
    trial = TrialConfig.from_dict(config)
    reporter.moved("loading data")
    try:
        fetch_data(trial, reporter.note)
        images = load_images(trial)
    except GensweepError as error:  # the files were there when the sweep started
        raise OutsideError(str(error)) from error
    evaluator = build_evaluator(trial, images, context.device, reporter.moved)
    reporter.moved("building the networks")
    with trial.keys_in_errors():
        run_trial(
            build_learner(trial, images, context.device, Workers(context.rank, context.world)),
            evaluator,
            context,
            reporter,
            metadata=trial.as_dict(),
            also=_start(trial).writer(trial.as_dict(), images),
        )


def check_inputs(trials: Iterable[TrialConfig], final: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """Load each data set and extractor of some trials once; returns notes about the data.

    `final` has the settings of the last score.  Raises ConfigError with all parts that do not fit together.
    """
    trials = tuple(trials)
    distinct = {(trial.data.model_dump_json(), trial.evaluation.model_dump_json()): trial for trial in trials}
    notes, problems = list[str](), list[str]()
    for trial in distinct.values():
        images = load_images(trial)
        notes += images.notes
        scored = {"evaluation": trial} | ({"final": trial.with_overrides(final)} if final else {})
        for section, each in scored.items():
            try:
                _check_evaluation(each, images, section)
            except ConfigError as error:
                problems += [problem.replace("evaluation.", f"{section}.") for problem in error.problems]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    for trial in {each.model_dump_json(exclude={"seed", "training", "evaluation"}): each for each in trials}.values():
        if isinstance(start := _start(trial), FromWeights):
            images = load_images(trial)
            notes += start.copy_fitting(build_family(trial, images.shape, images.classes), start.weights())
    return list(dict.fromkeys(notes))


def _check_evaluation(trial: TrialConfig, images: Images, section: str) -> None:
    """Raise ConfigError if a trial could not be scored by the settings of `section`, evaluation or final."""
    settings: EvaluationSettings = trial.bound("evaluation")()
    if settings.of("samples"):
        if problem := missing_weights(trial, section):
            raise ConfigError(problem)
        with trial.keys_in_errors():
            extractor = build_extractor(trial, "cpu", images)
            for name, reference in _references(trial, images, extractor).items():
                if isinstance(reference, Real):
                    METRICS[name].check_reference(reference)
            _check_generated(settings)
    if settings.of("likelihood"):
        hold_out(trial, images)


def _check_generated(settings: EvaluationSettings) -> None:
    """Raise ParameterError if a metric needs more images."""
    for metric in map(METRICS.__getitem__, settings.of("samples")):
        try:
            require_generated(settings.drawn, metric.fewest, metric.name)
        except GensweepError as error:
            raise ParameterError("samples", str(error)) from error


def missing_weights(trial: TrialConfig, section: str) -> str | None:
    """The message for missing published weights: a running sweep should not wait for a download."""
    key, settings = "evaluation.extractor", trial.flat()
    kind = str(settings.get(f"{key}.kind"))
    file = PUBLISHED.get(kind) if kind in EXTRACTORS and settings.get(f"{key}.weights") is None else None
    if file is None or file.place(cache_folder()).exists():
        return None
    without = ", or skip that score: --set final=null" if section == "final" else ""
    return f"{section}.extractor: the weights of {kind} are missing; run: gensweep data fetch {kind}{without}"
