"""Beside every score stand that of as many real images and that of noise: each computed once, the same for all."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import untrained
from real_features import MadeUp

from gensweep.build.parts import build_evaluator, load_images
from gensweep.data.digits import digits
from gensweep.metrics.extractors import EXTRACTORS, QUANTISATION, Extractor
from gensweep.metrics.metric import METRICS
from gensweep.metrics.real import reference_name
from gensweep.results import Identity
from gensweep.training.anchors import MEAN_IMAGE, NOISE, UNIFORM_MODEL, anchors_of
from gensweep.training.evaluation import Evaluator, evaluate_images
from gensweep.training.settings import EvaluationSettings, LikelihoodSettings

pytestmark = pytest.mark.trains

SAMPLED = [kind for kind in METRICS if METRICS[kind].needs == "samples"]
#: Images of each half of a data set.
HALF = 200


@cache
def halves():
    """Two halves of some real images, balanced by class."""
    images = digits("train", Path(), size=8)
    of_class = [(images.labels == label).nonzero()[: 2 * HALF // images.classes, 0] for label in range(images.classes)]
    chosen = torch.cat(of_class).view(HALF, 2)
    return [
        replace(images, pixels=images.pixels[part], labels=images.labels[part], fingerprint=f"{start:x}".ljust(64, "0"))
        for start, part in enumerate(chosen.T)
    ]


@cache
def network():
    return EXTRACTORS["efficientnet_lite0"]("cpu", Path(), resolution=32)


class Counting(Extractor):
    """An extractor that counts the images it has seen."""

    def __init__(self):
        same = network()
        super().__init__(same.network, same.prepare, id=same.id, num_features=same.num_features)
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return super().forward(images)


class Half(MadeUp):
    """One half as the reference of metrics."""

    def __init__(self, images):
        super().__init__(network()(images.pixels), images.class_names)
        self._labels = images.labels

    @property
    def labels(self):
        return self._labels


def evaluator(names, *, samples=HALF, extractor=None, against="train"):
    """One half of the digits is the reference."""
    real, _ = halves()
    settings = EvaluationSettings(
        metrics=tuple(names),
        samples=samples,
        against=against,
        extractor=lambda device, cache: network(),
        likelihood=LikelihoodSettings,
    )
    reference = Half(real)
    identities = {name: Identity(name, network().id, samples, reference_name(real), QUANTISATION) for name in names}
    metrics = {name: METRICS[name](reference, "cpu") for name in names}
    return Evaluator(settings, real, extractor or network(), metrics, identities)


def found(names, folder, *, held_out=True, samples=HALF, **settings):
    """Anchors of metrics of one half; the other half is held out."""
    return anchors_of(
        evaluator(names, samples=samples, **settings), lambda: halves()[1] if held_out else None, folder, samples
    )


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """The anchors of every metric of samples."""
    return found(SAMPLED, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", SAMPLED)
def test_real_images_score_better_than_noise_and_the_mean_image(every, name):
    floor, ceiling = every[name]
    assert (floor.images, floor.source) == (HALF, "digits/train")
    if METRICS[name].fooled_by_noise:
        assert ceiling is None
        return
    assert ceiling.source in (NOISE, MEAN_IMAGE)
    assert ceiling.images == HALF
    assert floor.value < ceiling.value if METRICS[name].mode == "min" else floor.value > ceiling.value


def test_the_ceiling_is_the_better_one_of_noise_and_the_mean_image(tmp_path):
    one = evaluator(["fd"])
    mean = halves()[0].pixels.double().mean(0, keepdim=True).round().byte()
    noise = torch.randint(0, 256, (HALF, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores = {
        source: evaluate_images(one, lambda indices, pixels=pixels: pixels[indices], torch.device("cpu")).scores["fd"]
        for source, pixels in ((NOISE, noise), (MEAN_IMAGE, mean.expand(HALF, -1, -1, -1)))
    }
    source, best = min(scores.items(), key=lambda item: item[1].value)
    ceiling = found(["fd"], tmp_path)["fd"].ceiling
    assert (ceiling.source, ceiling.value) == (source, pytest.approx(best.value, rel=1e-6))
    # Equal images have a covariance of zero, and still a distance that is known exactly.
    alike = scores[MEAN_IMAGE]
    assert alike.interval == pytest.approx((alike.value, alike.value), rel=1e-6)


def test_the_second_time_no_image_is_looked_at(tmp_path):
    first, second, other = Counting(), Counting(), Counting()
    anchors = found(["kid", "recall"], tmp_path, extractor=first)
    assert first.seen == 2 * HALF + 1
    assert found(["kid", "recall"], tmp_path, extractor=second) == anchors
    assert second.seen == 0
    found(["kid", "recall"], tmp_path, extractor=other, samples=HALF // 2)
    assert other.seen == HALF + 1


def test_images_that_the_reference_holds_are_no_floor(tmp_path):
    real, other = halves()
    floor = anchors_of(evaluator(["fd"]), lambda: other, tmp_path, HALF)["fd"].floor
    held = evaluator(["fd"])
    identities = {"fd": replace(held.identities["fd"], reference=reference_name(other))}
    found = anchors_of(replace(held, images=real, identities=identities), lambda: other, tmp_path, HALF)["fd"].floor
    # The reference of this evaluator is the training half itself, which then takes the place of the other one.
    assert found.value == pytest.approx(0, abs=1e-6)
    assert floor.value > 1


def test_anchors_change_neither_scores_nor_random_numbers(tmp_path):
    with_anchors = replace(evaluator(["kid", "recall"]), anchors=lambda samples: found(["kid", "recall"], tmp_path))
    pixels, state = halves()[1].pixels, torch.get_rng_state()
    scores = evaluate_images(with_anchors, lambda indices: pixels[indices], torch.device("cpu")).scores
    assert torch.equal(torch.get_rng_state(), state)
    plain = evaluate_images(evaluator(["kid", "recall"]), lambda indices: pixels[indices], torch.device("cpu")).scores
    assert {name: score.value for name, score in scores.items()} == {name: s.value for name, s in plain.items()}
    assert scores["kid"].floor == found(["kid", "recall"], tmp_path)["kid"].floor
    assert scores["kid"].floor.value == pytest.approx(scores["kid"].value, abs=1e-9)
    assert plain["kid"].floor is None


def test_a_uniform_model_needs_eight_bits_for_a_value(tmp_path):
    settings = {"evaluation__metrics": ["bpd"], "evaluation__likelihood": {"images": 7}}
    trial = untrained.config("diffusion", **settings)
    floor, ceiling = build_evaluator(trial, load_images(trial), "cpu").anchors(8)["bpd"]
    assert floor is None
    assert (ceiling.value, ceiling.source, ceiling.images) == (math.log2(256), UNIFORM_MODEL, 7)


def in_two_processes(rank, folder, results):
    """Each rank has a cache of its own, as on two machines; that of rank 1 is filled already."""
    torch.set_num_threads(1)
    if rank == 1:
        found(["kid", "recall"], Path(folder, "1"))
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        results.put((rank, found(["kid", "recall"], Path(folder, str(rank)))))
    finally:
        dist.destroy_process_group()


def test_each_of_two_workers_gets_the_anchors_of_one(tmp_path):
    context = torch.multiprocessing.get_context("forkserver")
    results = context.SimpleQueue()
    torch.multiprocessing.start_processes(
        in_two_processes, args=(str(tmp_path), results), nprocs=2, start_method="forkserver"
    )
    pair = dict([results.get(), results.get()])
    alone = found(["kid", "recall"], tmp_path / "alone")
    for anchors in pair.values():
        for name, (floor, ceiling) in alone.items():
            assert anchors[name].floor.value == pytest.approx(floor.value, rel=1e-6)
            assert anchors[name].ceiling.value == pytest.approx(ceiling.value, rel=1e-6)
