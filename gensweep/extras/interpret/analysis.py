"""Analyse the networks in a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from gensweep.build.model import Model, in_batches, labels_of, load_checkpoint
from gensweep.build.parts import build_extractor, load_images, training_reference
from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.interpret.activation_maps import ActivationMap, map_denoiser, map_generator
from gensweep.extras.interpret.intervention import Intervention, intervene
from gensweep.extras.interpret.recording import PathStep, evenly_spaced, reading_layers, record_path
from gensweep.families.family import Denoising, Judging
from gensweep.metrics.extractors import to_uint8
from gensweep.metrics.probe import Classifier
from gensweep.noise import Noise
from gensweep.training.checkpoint import load_tensors
from gensweep.training.device import place
from gensweep.training.evaluation import draw
from gensweep.training.learner_state import RAW_WEIGHTS, load_network, weights_prefix

#: Labels in pictures, and labels whose units are changed.
MAX_LABELS = 10
#: Sets of random units for comparison.
RANDOM_SETS = 3
#: Default for --units: one unit in this many is switched off per label.
UNITS_PER_INTERVENTION = 30
#: Images to generate at once.
IMAGES_PER_BATCH = 64


class LabelledModel(NamedTuple):
    """A class-conditional model, the layers to record, and the labels to analyse."""

    model: Model
    layers: Mapping[str, nn.Module]
    labels: Sequence[int]


class Trajectory(NamedTuple):
    """The way from one noise image to an image under each of several labels."""

    labels: Sequence[int]
    path: Sequence[PathStep]
    images: UInt8[Tensor, "n c h w"]


class Findings(NamedTuple):
    """All findings.  None or empty if the family has none, or if not requested.

    `ceiling` is the classifier's accuracy on real images; `failure` is why requested interventions are missing.
    """

    activation_map: ActivationMap
    interventions: Sequence[Intervention]
    ceiling: float
    failure: GensweepError | None
    trajectory: Trajectory | None


def load_labelled(folder: Path, *, class_name: str | None = None, layers: str | None = None) -> LabelledModel:
    """Load the model in a checkpoint folder with all networks; `layers` is a regular expression, None: all.

    Raises ConfigError for a model without labels, an unknown class, and if no layer matches.
    """
    model = load_checkpoint(folder)
    names = model.class_names
    if not model.family.classes:
        raise ConfigError("this model was trained without labels; name a run with conditional: true")
    if len(names) < 2:
        raise ConfigError(f"this model has only the class {names[0]}; name a run with at least two classes")
    labels = labels_of(model, len(names) if class_name is None else 1, class_name).tolist()
    if getattr(model.family, "guidance", 1) == 0:
        raise ConfigError("family.guidance is 0, which ignores the label; name a run with another guidance")
    if isinstance(model.family, Judging):
        judge = model.family.judge
        network, prefix = model.family.networks[judge], weights_prefix(RAW_WEIGHTS, judge)
        load_network(network, load_tensors(folder, prefix), prefix)
        place(network, model.device, "float32").eval()
    every = reading_layers(model.family.networks)
    try:
        pattern = re.compile(layers or "")
    except re.error as error:
        raise ConfigError(f"--layer {layers!r} is not a regular expression ({error}); for example: 'up'") from None
    found = {name: layer for name, layer in every.items() if pattern.search(name)}
    if not found:
        shown = ", ".join([*every][:: max(1, len(every) // 6)][:6])
        raise ConfigError(f"--layer {layers!r} matches none of {len(every)} layers, such as {shown}")
    return LabelledModel(model, found, labels)


def analyse(
    labelled: LabelledModel,
    begin: Callable[[str], None],
    *,
    samples: int,
    levels: int,
    permutations: int,
    units: int | None,
    draws: int,
    seed: int,
) -> Findings:
    """Run all analyses; `begin` receives the name of each stage.

    `samples` images are shown under each label, at each of `levels` noise levels.  A denoiser sees noisy images from
    its own sampler, under all labels in turn; other families generate images in one pass.  `draws` images per label are
    generated for every change of its `units` units (None: one in UNITS_PER_INTERVENTION); 0 changes none.
    """
    model, classes = labelled.model, len(labelled.model.class_names)
    noise, flips = Noise(seed, torch.arange(samples, device=model.device)), Noise(seed, torch.arange(permutations))
    begin("which units react to a label")
    if isinstance(model.family, Denoising):
        path, _ = record_path(model.family, noise, noise.samples % classes, model.shape)
        found = map_denoiser(model.family, labelled.layers, evenly_spaced(path, levels), classes, flips)
    else:
        found = map_generator(model.family, labelled.layers, noise, classes, flips)
    interventions, ceiling, failure, trajectory = list[Intervention](), 0.0, None, None
    try:
        if draws:
            interventions, ceiling = _intervene(labelled, found, units, draws, seed, begin)
    except GensweepError as error:
        failure = error
    if isinstance(model.family, Denoising):
        begin("from noise to image")
        trajectory = _trajectory(labelled, model.family, seed)
    return Findings(found, interventions, ceiling, failure, trajectory)


def _intervene(
    labelled: LabelledModel,
    found: ActivationMap,
    units: int | None,
    draws: int,
    seed: int,
    begin: Callable[[str], None],
) -> tuple[list[Intervention], float]:
    """Change the units of each label, or other units; also returns the accuracy of the classifier.

    Raises GensweepError if the training images are missing.
    """
    begin("images without these units: training the classifier")
    model, sampled = labelled.model, labelled.model.family.sampled
    extractor = build_extractor(model.config, model.device)
    classifier: Classifier = training_reference(model.config, load_images(model.config), extractor).classifier()

    def drawn(labels: Tensor) -> Tensor:
        wanted = labels.to(model.device)

        def batch(indices: Tensor) -> Tensor:
            return draw(model.family, model.network, Noise(seed, indices), wanted[indices])

        return in_batches(batch, len(labels), IMAGES_PER_BATCH, model.device, None)

    def classify(images: Tensor) -> Tensor:
        scores: Tensor = classifier.probe(extractor(images.to(model.device)).cpu().double())
        return scores

    if units is None:
        every = sum(count for layer, count in found.widths.items() if layer.startswith(f"{sampled}."))
        units = max(1, every // UNITS_PER_INTERVENTION)
    done = list[Intervention]()
    for label in labelled.labels[:MAX_LABELS]:
        if raised := found.raised_units(label, units, network=sampled):
            begin(f"{model.class_names[label]} without its units")
            under = torch.full((draws,), label)
            others = (label + 1 + torch.arange(draws) % (len(model.class_names) - 1)) % len(model.class_names)
            seeds = [Noise(seed, torch.tensor([repeat])) for repeat in range(RANDOM_SETS)]
            done += intervene(raised, under, others, labelled.layers, found.widths, drawn, classify, seeds)
    return done, classifier.ceiling


def _trajectory(labelled: LabelledModel, family: Denoising, seed: int) -> Trajectory:
    """How the first image of a seed emerges under each analysed label, and under others."""
    device = labelled.model.device
    labels = [*dict.fromkeys([*labelled.labels, *range(len(labelled.model.class_names))])][:MAX_LABELS]
    noise = Noise(seed, torch.zeros(len(labels), dtype=torch.int64, device=device))
    wanted, shape = torch.tensor(labels, device=device), labelled.model.shape
    path, images = record_path(family, noise, wanted, shape)
    return Trajectory(labels, path, to_uint8(images).cpu())
