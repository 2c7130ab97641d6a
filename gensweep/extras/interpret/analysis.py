"""From a checkpoint to what is found inside its networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from gensweep.build.model import Model, in_batches, labels_of, load_checkpoint
from gensweep.build.parts import build_extractor, load_images, training_reference
from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.interpret.activation_maps import ActivationMap, map_denoiser, map_generator
from gensweep.extras.interpret.intervention import Intervention, Task, intervene
from gensweep.extras.interpret.recording import reading_layers
from gensweep.extras.interpret.trajectory import PathStep, evenly_spaced, record_path
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
#: Sets of random units that the units of a label are compared with.
RANDOM_SETS = 3
#: Without --units, one unit in this many is switched off for each label.
UNITS_PER_INTERVENTION = 30
#: Images that are drawn at once.
IMAGES_PER_BATCH = 64


@dataclass(frozen=True)
class AnalysisSettings:
    """`samples` images are shown under each label, at each of `levels` noise levels.

    `draws` images of a label are drawn for every change of its `units` units (None: one in UNITS_PER_INTERVENTION); 0
    changes none.
    """

    samples: int
    levels: int
    permutations: int
    units: int | None
    draws: int
    seed: int


class LabelledModel(NamedTuple):
    """A class-conditional model, the layers whose units are recorded, and the labels that are looked at."""

    model: Model
    layers: Mapping[str, nn.Module]
    labels: Sequence[int]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes."""
        return self.model.class_names

    @property
    def shown_labels(self) -> Sequence[int]:
        """As many of the labels as there is room for."""
        return self.labels[:MAX_LABELS]

    def noise(self, seed: int, count: int) -> Noise:
        """Samples 0..count-1 of a seed."""
        return Noise(seed, torch.arange(count, device=self.model.device))


class Trajectory(NamedTuple):
    """One noise image on its way to an image under each of several labels."""

    labels: Sequence[int]
    path: Sequence[PathStep]
    images: UInt8[Tensor, "n c h w"]


class Findings(NamedTuple):
    """All that was found.  None or empty is what the family does not have, or what was not asked for.

    `ceiling` is the accuracy of the classifier of interventions on real images; `failure` says why there are none
    although they were asked for.
    """

    activation_map: ActivationMap
    interventions: Sequence[Intervention]
    ceiling: float
    failure: GensweepError | None
    trajectory: Trajectory | None


def load_labelled(folder: Path, *, class_name: str | None = None, layers: str | None = None) -> LabelledModel:
    """The model in a checkpoint folder with all of its networks; `layers` is a regular expression, None means all.

    Raises ConfigError for a model without labels, an unknown class, and if no layer is found.
    """
    model = load_checkpoint(folder)
    names = model.class_names
    if not model.family.classes:
        raise ConfigError(
            "this model was trained without labels, so no unit knows any; name a run with conditional: true"
        )
    if len(names) < 2:
        raise ConfigError(f"this model knows one class only ({names[0]}); a label can only be told from another one")
    labels = labels_of(model, len(names) if class_name is None else 1, class_name).tolist()
    if getattr(model.family, "guidance", 1) == 0:
        raise ConfigError("family.guidance is 0, which ignores the label; name a run with another guidance")
    if isinstance(model.family, Judging):
        judge = model.family.judge
        network, prefix = model.family.networks[judge], weights_prefix(RAW_WEIGHTS, judge)
        load_network(network, load_tensors(folder, prefix), prefix)
        place(network, model.device, "float32").eval()
    return LabelledModel(model, select_layers(reading_layers(model.family.networks), layers), labels)


def select_layers(layers: Mapping[str, nn.Module], pattern: str | None) -> dict[str, nn.Module]:
    """The layers whose name contains a match of a regular expression; None means all.

    Raises ConfigError if it is not a regular expression, or matches no name.
    """
    try:
        wanted = re.compile(pattern or "")
    except re.error as error:
        raise ConfigError(f"--layer {pattern!r} is not a regular expression ({error}); for example: 'up'") from None
    found = {name: layer for name, layer in layers.items() if wanted.search(name)}
    if not found:
        names = [*layers]
        shown = ", ".join(names[:: max(1, len(names) // 6)][:6])
        raise ConfigError(f"--layer {pattern!r} is found in no layer's name; there are {len(names)}, such as {shown}")
    return found


def analyse(labelled: LabelledModel, settings: AnalysisSettings, begin: Callable[[str], None]) -> Findings:
    """Run all analyses; `begin` gets the name of each stage."""
    begin("which units react to a label")
    found = map_activations(labelled, settings)
    interventions, ceiling, failure = list[Intervention](), 0.0, None
    try:
        if settings.draws:
            interventions, ceiling = _intervene(labelled, found, settings, begin)
    except GensweepError as error:
        failure = error
    trajectory = None
    if isinstance(labelled.model.family, Denoising):
        begin("the way from noise to image")
        trajectory = _trajectory(labelled, labelled.model.family, settings.seed)
    return Findings(found, interventions, ceiling, failure, trajectory)


def map_activations(labelled: LabelledModel, settings: AnalysisSettings) -> ActivationMap:
    """How each unit reacts to each label.

    A denoiser sees noisy images from its own sampler, under all labels in turn; other families draw images in one go.
    """
    family, classes = labelled.model.family, len(labelled.names)
    noise = labelled.noise(settings.seed, settings.samples)
    flips = Noise(settings.seed, torch.arange(settings.permutations))
    if not isinstance(family, Denoising):
        return map_generator(family, labelled.layers, noise, classes, flips)
    shape = labelled.model.shape
    path, _ = record_path(family, noise, noise.samples % classes, shape)
    return map_denoiser(family, labelled.layers, evenly_spaced(path, settings.levels), classes, flips)


def _intervene(
    labelled: LabelledModel, found: ActivationMap, settings: AnalysisSettings, begin: Callable[[str], None]
) -> tuple[list[Intervention], float]:
    """Change the units of each label, or others; the classifier, whose accuracy comes too, is that of `agreement`.

    Raises GensweepError if the images of the training cannot be had.
    """
    begin("what becomes of images without these units: the classifier")
    model, sampled, classes = labelled.model, labelled.model.family.sampled, len(labelled.names)
    network = model.family.networks[sampled]
    extractor = build_extractor(model.config, model.device)
    classifier: Classifier = training_reference(model.config, load_images(model.config), extractor).classifier()

    def drawn(labels: Tensor) -> Tensor:
        wanted = labels.to(model.device)

        def batch(indices: Tensor) -> Tensor:
            return draw(model.family, network, Noise(settings.seed, indices), wanted[indices])

        return in_batches(batch, len(labels), IMAGES_PER_BATCH, model.device, None)

    def classify(images: Tensor) -> Tensor:
        scores: Tensor = classifier.probe(extractor(images.to(model.device)).cpu().double())
        return scores

    units = sum(count for layer, count in found.widths.items() if layer.startswith(f"{sampled}."))
    count = max(1, units // UNITS_PER_INTERVENTION) if settings.units is None else settings.units
    done = list[Intervention]()
    for label in labelled.shown_labels:
        if raised := found.raised_units(label, count, network=sampled):
            begin(f"{labelled.names[label]} without its units")
            task = Task(label, raised, classes, n=settings.draws, repeats=RANDOM_SETS, seed=settings.seed)
            done += intervene(task, labelled.layers, found.widths, drawn, classify)
    return done, classifier.ceiling


def _trajectory(labelled: LabelledModel, family: Denoising, seed: int) -> Trajectory:
    """How the first image of a seed emerges under each label that is looked at, and under others."""
    device = labelled.model.device
    labels = [*dict.fromkeys([*labelled.labels, *range(len(labelled.names))])][:MAX_LABELS]
    noise = Noise(seed, torch.zeros(len(labels), dtype=torch.int64, device=device))
    wanted, shape = torch.tensor(labels, device=device), labelled.model.shape
    path, images = record_path(family, noise, wanted, shape)
    return Trajectory(labels, path, to_uint8(images).cpu())
