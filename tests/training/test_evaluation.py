"""Evaluation: the same images for any batch size, labels in proportion, scores as by hand."""

from dataclasses import replace

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from gensweep.errors import ConfigError
from gensweep.families.family import FAMILIES, BoundPoints
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.moments import Moments
from gensweep.noise import Noise
from gensweep.training.evaluation import draw, evaluate, sample_labels

pytestmark = pytest.mark.trains


def trained(kind):
    """Networks that are no longer at their first weights, which are 0 in places."""
    learner = tiny.learner(kind)
    for network in learner.family.networks.values():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return learner


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_the_score_is_the_distance_of_the_images_that_are_drawn(kind):
    learner, evaluator = trained(kind), tiny.evaluator()
    verdict = evaluate(learner.family, learner.sampler, evaluator)
    labels = sample_labels((2, 1, 1), Noise(0, torch.arange(20)))
    images = draw(learner.family, learner.sampler, Noise(0, torch.arange(20)), labels)
    mine, real = Moments.of(evaluator.extractor(images)), Moments.of(evaluator.extractor(tiny.images().pixels))
    expected = frechet_distance(mine.mean, mine.covariance, real.mean, real.covariance)
    assert verdict.scores["fd"].value == pytest.approx(expected, rel=0.05)
    assert (verdict.shown.int() - images.int()).abs().max() <= 1
    assert min(verdict.sample_seconds, verdict.evaluate_seconds) > 0


def test_an_evaluation_of_fewer_images_shows_the_same_ones():
    learner, whole = trained("diffusion"), tiny.evaluator()
    fewer = replace(whole, settings=replace(whole.settings, samples=8, batch_size=3))
    first, last = (evaluate(learner.family, learner.sampler, each).shown for each in (fewer, whole))
    assert len(first) == 8
    assert (first.int() - last[:8].int()).abs().max() <= 1


WITH_LIKELIHOOD = [kind for kind in FAMILIES if hasattr(FAMILIES[kind], "bits_per_dim")]


@pytest.mark.parametrize("kind", WITH_LIKELIHOOD)
def test_bits_per_dimension_are_the_mean_in_any_batches(kind):
    learner = trained(kind)
    network, held_out = learner.sampler, tiny.images(11)
    evaluator = tiny.evaluator(likelihood=True)
    with torch.no_grad():
        bits = learner.family.bits_per_dim(
            network.eval(), held_out.pixels / 127.5 - 1, held_out.labels, Noise(0, torch.arange(11)), BoundPoints(5, 5)
        )
    for size in (2, 64):
        sized = replace(evaluator, settings=replace(evaluator.settings, batch_size=size))
        verdict = evaluate(learner.family, network, sized)
        assert verdict.scores["bpd"].value == pytest.approx(float(bits.mean()), rel=1e-4)
        assert verdict.signals["bpd/standard_error"] == pytest.approx(float(bits.std()) / 11**0.5, rel=1e-2)


@pytest.mark.parametrize("kind", WITH_LIKELIHOOD)
def test_without_a_score_of_samples_no_extractor_is_needed(kind):
    learner, evaluator = trained(kind), replace(tiny.evaluator(True, names=(), samples=4), extractor=None)
    verdict = evaluate(learner.family, learner.sampler, evaluator)
    assert set(verdict.scores) == {"bpd"}
    assert verdict.shown.shape[0] == 4


def test_a_family_without_a_likelihood_is_refused():
    learner = trained("gan")
    with pytest.raises(ConfigError, match=r"metrics: .* has no likelihood"):
        evaluate(learner.family, learner.sampler, tiny.evaluator(likelihood=True))


@pytest.mark.parametrize("mode", [True, False])
def test_a_network_is_left_in_its_mode_and_its_weights_as_they_were(mode):
    learner = trained("gan")
    network = learner.family.networks["generator"].train(mode)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    evaluate(learner.family, network, tiny.evaluator())
    assert network.training is mode
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.integers(0, 2**32))
def test_a_label_depends_on_the_seed_and_the_sample_alone(counts, key):
    labels = sample_labels(counts, Noise(key, torch.arange(300)))
    some = torch.tensor([17, 3, 299])
    assert torch.equal(sample_labels(counts, Noise(key, some)), labels[some])
    assert all(counts[label] for label in labels.tolist())


def test_labels_are_independent_and_in_proportion_to_the_classes():
    counts, n = torch.tensor([4, 0, 1, 5]), 40_000
    labels = sample_labels(counts.tolist(), Noise(7, torch.arange(n)))
    shares = counts / 10
    for found, expected in (
        (torch.bincount(labels, minlength=4), n * shares),
        (torch.bincount(4 * labels[::2] + labels[1::2], minlength=16), n / 2 * torch.outer(shares, shares).flatten()),
    ):
        assert ((found - expected).square() / expected.clamp(min=1)).sum() < 30  # chi-square of 2 and 8 degrees
