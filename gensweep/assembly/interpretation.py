"""Trained models with labels: what their units do with a label, and what becomes of images without these units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from gensweep.assembly.model import Model, in_batches, load_checkpoint
from gensweep.assembly.parts import build_extractor, load_images, training_reference
from gensweep.errors import ConfigError
from gensweep.families.family import Denoising
from gensweep.families.game import DISCRIMINATOR
from gensweep.families.gan import GanFamily
from gensweep.interpret.atlas import Atlas, atlas_of_denoiser, atlas_of_gan
from gensweep.interpret.intervention import Intervention, Task, intervene
from gensweep.interpret.maximisation import Dream, denoised_from, maximise
from gensweep.interpret.recording import chosen, reading_layers
from gensweep.interpret.trajectory import Step, evenly, follow
from gensweep.metrics.images import to_uint8
from gensweep.metrics.labels import Classifier
from gensweep.noise import Noise
from gensweep.training.checkpoint import load_tensors
from gensweep.training.evaluation import draw
from gensweep.training.loop import place
from gensweep.training.state import RAW, load_network, weights_prefix

__all__ = [
    "Driven",
    "Interventions",
    "Subject",
    "Trajectory",
    "driven",
    "interventions",
    "make_atlas",
    "shown_labels",
    "subject_of",
    "trajectory",
]

#: Pictures show so many labels at most.
MOST_LABELS = 10
#: Sets of random units that the units found are compared with.
REPEATS = 3
#: Of how many units one is switched off.
USUAL = 30
#: Images that are drawn at once.
BATCH = 64
#: Images are made for units at so many levels at most, no higher than an image can still be seen at.
VISIBLE, AT_LEVELS = 5.0, 3
#: So many images each; layers of a label, if it is the only one that is asked about, and the number of units that say
#: which these are.
SEEDS, LAYERS, LEADING = 2, 3, 30


class Subject(NamedTuple):
    """A model to look into: the layers whose units are looked at, and the labels, by number, that are asked about."""

    model: Model
    layers: Mapping[str, nn.Module]
    labels: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Those of all classes."""
        return self.model.checkpoint.class_names

    @property
    def network(self) -> nn.Module:
        """The one that draws samples."""
        return self.model.family.networks[self.model.family.sampled]


class Trajectory(NamedTuple):
    """The way of one noise image under several labels."""

    labels: tuple[int, ...]
    path: tuple[Step, ...]
    images: UInt8[Tensor, "n c h w"]


class Interventions(NamedTuple):
    """What changes of units did, label by label, and the accuracy on real images of the classifier that judged."""

    found: Sequence[Intervention]
    ceiling: float


class Driven(NamedTuple):
    """Images made to drive units that react to a label, at one level, and what becomes of them without a label.

    `seen` is what the network takes them for in their noise, `drawn` what its sampler makes of them, and `plain` what
    it makes of the same noise without them.
    """

    label: int
    units: str
    level: float
    dream: Dream
    seen: UInt8[Tensor, "n c h w"]
    drawn: UInt8[Tensor, "n c h w"]
    plain: UInt8[Tensor, "n c h w"]


def subject_of(folder: Path, *, class_name: str | None = None, layers: str | None = None) -> Subject:
    """The model in a checkpoint folder with all of its networks; `layers` is a regular expression, None means all.

    Raises ConfigError for a model that knows no labels, an unknown class, and if no layer is found.
    """
    model = load_checkpoint(folder)
    names = model.checkpoint.class_names
    if not model.family.classes:
        raise ConfigError(
            "this model was trained without labels, so no unit knows any; name a run with conditional: true"
        )
    if len(names) < 2:
        raise ConfigError(f"this model knows one class only ({names[0]}); a label can only be told from another one")
    if class_name is not None and class_name not in names:
        raise ConfigError(f"{class_name!r} is not a class of this model (known: {', '.join(names)})")
    if getattr(model.family, "guidance", 1) == 0:
        raise ConfigError("family.guidance is 0, which ignores the label; name a run with another guidance")
    if isinstance(model.family, GanFamily):
        network, prefix = model.family.networks[DISCRIMINATOR], weights_prefix(RAW, DISCRIMINATOR)
        load_network(network, load_tensors(folder, prefix), prefix)
        place(network, model.device, "float32").eval()
    found = chosen(reading_layers(model.family.networks), layers)
    labels = range(len(names)) if class_name is None else [names.index(class_name)]
    return Subject(model, found, tuple(labels))


def make_atlas(subject: Subject, *, images: int, levels: int, permutations: int, seed: int = 0) -> Atlas:
    """How each unit reacts to each label.

    A denoiser sees so many noisy images at each of `levels` of its sampler's stops, as it meets them itself under all
    labels in turn; a generator so many latents.  See `selectivity` for the effect and the test.
    """
    model, classes = subject.model, len(subject.names)
    noise, chance = Noise(seed, _range(model, images)), Noise(seed, torch.arange(permutations))
    if isinstance(model.family, GanFamily):
        return atlas_of_gan(model.family, subject.layers, noise, classes, chance)
    family = _denoising(model)
    path, _ = follow(family, subject.network, noise, noise.samples % classes, model.checkpoint.shape)
    return atlas_of_denoiser(family, subject.network, subject.layers, evenly(path, levels), classes, chance)


def trajectory(subject: Subject, *, seed: int = 0) -> Trajectory | None:
    """How the first image of a seed comes to be under each label; None for a family that draws in one go."""
    model, labels = subject.model, shown_labels(subject)
    if not isinstance(model.family, Denoising):
        return None
    noise = Noise(seed, torch.zeros(len(labels), dtype=torch.int64, device=model.device))
    wanted = torch.tensor(labels, device=model.device)
    path, images = follow(model.family, subject.network, noise, wanted, model.checkpoint.shape, attention=True)
    return Trajectory(labels, tuple(path), to_uint8(images).cpu())


def interventions(
    subject: Subject, atlas: Atlas, *, units: int | None, draws: int, seed: int = 0
) -> Iterator[Interventions]:
    """The units found for each label switched off and doubled, and others switched off: more after each label.

    `units` is how many a label has; None is one in USUAL of those of the network that draws samples.  The classifier is
    that of the metric `agreement`.  At most MOST_LABELS labels, those that some unit reacts to.
    Raises GensweepError if the images of the training cannot be had.
    """
    model, trial = subject.model, subject.model.trial
    extractor = build_extractor(trial, model.device)
    classifier: Classifier = training_reference(trial, load_images(trial), extractor).classifier()
    found = list[Intervention]()

    def drawn(labels: Tensor) -> Tensor:
        labels = labels.to(model.device)
        return in_batches(
            lambda indices: draw(model.family, subject.network, Noise(seed, indices), labels[indices]),
            *(len(labels), BATCH, model.device, None),
        )

    def judge(images: Tensor) -> Tensor:
        return classifier.probe.scores(extractor(images.to(model.device)).cpu())

    here = sum(width for name, width in atlas.widths.items() if name.startswith(f"{model.family.sampled}."))
    units = max(1, here // USUAL) if units is None else units
    for label in subject.labels[:MOST_LABELS]:
        raised = atlas.raised(label, units, network=model.family.sampled)
        if raised:
            task = Task(label, raised, classes=len(subject.names), n=draws, repeats=REPEATS, seed=seed)
            found += intervene(task, subject.layers, atlas.widths, drawn, judge)
            yield Interventions(tuple(found), classifier.ceiling)


def driven(subject: Subject, atlas: Atlas, *, seed: int = 0) -> Iterator[Driven]:
    """Images that drive what reacts to each label: layers as a whole, and if one label is asked about, its first unit.

    Nothing for a family that does not denoise.
    """
    model = subject.model
    if not isinstance(model.family, Denoising):
        return
    noise, network = Noise(seed, _range(model, SEEDS)), subject.network
    for label in subject.labels[:MOST_LABELS]:
        leading = atlas.raised(label, LEADING, network=model.family.sampled)
        layers = list(dict.fromkeys(unit.layer for unit in leading))[: LAYERS if len(subject.labels) == 1 else 1]
        targets: list[tuple[str, str, int | None]] = [(layer, layer, None) for layer in layers]
        if leading and len(subject.labels) == 1:
            first = leading[0]
            targets.insert(0, (f"{first.layer} #{first.index}", first.layer, first.index))
        for name, layer, unit in targets:
            for index in _visible(atlas):
                level, along = atlas.levels[index] or 0.0, {layer: atlas.direction(label, layer, index, unit)}
                dream = maximise(model.family, network, subject.layers, along, noise, model.checkpoint.shape, level)
                seen, drawn = denoised_from(model.family, network, dream.noisy, level, noise)
                _, plain = denoised_from(model.family, network, dream.start, level, noise)
                yield Driven(label, name, level, dream, *(to_uint8(each).cpu() for each in (seen, drawn, plain)))


def _visible(atlas: Atlas) -> list[int]:
    """Places of some levels at which an image shows through the noise: the lowest if there is no other."""
    found = [index for index, level in enumerate(atlas.levels) if level is not None and level <= VISIBLE]
    found = found or [len(atlas.levels) - 1]
    return [found[round(each)] for each in torch.linspace(0, len(found) - 1, min(AT_LEVELS, len(found))).tolist()]


def shown_labels(subject: Subject) -> tuple[int, ...]:
    """The labels for pictures beside each other: the one that is asked about and the first others."""
    rest = [label for label in range(len(subject.names)) if label not in subject.labels]
    return (*subject.labels, *rest)[:MOST_LABELS]


def _denoising(model: Model) -> Denoising:
    if not isinstance(model.family, Denoising):
        raise ConfigError(f"a model of family {model.trial.kind('family')!r} cannot be looked into; name another run")
    return model.family


def _range(model: Model, count: int) -> Tensor:
    return torch.arange(count, device=model.device)
