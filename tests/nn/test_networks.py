"""Every registered network goes through these, whoever adds it."""

import pytest
import torch

from gensweep.config.models import item_model
from gensweep.nn.networks import ADVERSARIES, DENOISERS
from gensweep.registry import keywords

SIZES = [8, 16, 32]
CLASSES = [0, 3]
LATENT = 12
B = 2


def denoiser(kind, size, classes, channels=3):
    settings = item_model(DENOISERS, kind).model_fields
    return DENOISERS[kind](channels, size, classes, **({"width": 16} if "width" in settings else {}))


def adversaries(kind, size, classes, channels=3, timed=False):
    return ADVERSARIES[kind](channels, size, classes, LATENT, timed, **narrow(kind))


def narrow(kind):
    return {name: 8 for name in ("width", "discriminator_width") if name in keywords(ADVERSARIES[kind])}


def awakened(network):
    """The network with noise on its weights, as zero-initialised ends hide what comes before them."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def inputs(size, classes, channels=3):
    labels = torch.tensor([0, classes]) if classes else None
    return torch.randn(B, channels, size, size), torch.tensor([0.0, 999.0]), labels


def assert_all_gradients_are_finite(network):
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} got no gradient"
        assert torch.isfinite(parameter.grad).all(), f"{name} has a gradient that is not finite"
        assert parameter.grad.abs().sum() > 0, f"{name} has a gradient of nothing but zeros"


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_denoiser_keeps_the_shape_and_every_parameter_learns(kind, size, classes):
    network = awakened(denoiser(kind, size, classes))
    x, time, labels = inputs(size, classes)
    out = network(x, time, labels)
    assert out.shape == x.shape
    (out - torch.randn_like(out)).square().mean().backward()
    assert_all_gradients_are_finite(network)


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_denoiser_starts_by_predicting_nothing(kind):
    x, time, labels = inputs(16, 3)
    assert not denoiser(kind, 16, 3)(x, time, labels).any()


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_a_denoiser_treats_images_one_by_one_in_evaluation(kind):
    network = awakened(denoiser(kind, 16, 3)).eval()
    x, time, labels = inputs(16, 3)
    with torch.no_grad():
        once, again = network(x, time, labels), network(x, time, labels)
        alone = torch.cat([network(x[i : i + 1], time[i : i + 1], labels[i : i + 1]) for i in range(B)])
    assert torch.equal(once, again)
    torch.testing.assert_close(alone, once, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_denoiser_listens_to_time_and_label(kind):
    network = awakened(denoiser(kind, 16, 3)).eval()
    x, time, labels = inputs(16, 3)
    with torch.no_grad():
        base = network(x, time, labels)
        assert not torch.allclose(base, network(x, time.flip(0), labels))
        assert not torch.allclose(base, network(x, time, labels.flip(0)))


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_labels_of_none_mean_the_null_label(kind):
    network = awakened(denoiser(kind, 8, 3)).eval()
    x, time, _ = inputs(8, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(x, time, None), network(x, time, torch.tensor([3, 3])))


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_unconditional_denoiser_ignores_labels(kind):
    network = awakened(denoiser(kind, 8, 0)).eval()
    x, time, _ = inputs(8, 0)
    with torch.no_grad():
        assert torch.equal(network(x, time, None), network(x, time, torch.tensor([1, 2])))


@pytest.mark.parametrize("kind", DENOISERS.kinds())
def test_denoiser_runs_channels_last_and_in_bfloat16(kind):
    network = awakened(denoiser(kind, 16, 3)).eval()
    x, time, labels = inputs(16, 3)
    with torch.no_grad():
        expected = network(x, time, labels)
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(network(x, time, labels), expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x, time, labels).float()
    assert float((half - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ADVERSARIES.kinds())
def test_adversaries_play_and_every_parameter_learns(kind, size, classes):
    generator, discriminator = map(awakened, adversaries(kind, size, classes))
    labels = torch.tensor([0, classes - 1]) if classes else None
    fake = generator(torch.randn(B, LATENT), labels)
    assert fake.shape == (B, 3, size, size)
    logits = discriminator(fake, labels)
    assert logits.shape == (B,)
    logits.sum().backward()
    assert_all_gradients_are_finite(generator)
    assert_all_gradients_are_finite(discriminator)


@pytest.mark.parametrize("kind", ADVERSARIES.kinds())
def test_adversaries_treat_images_one_by_one_in_evaluation(kind):
    generator, discriminator = (network.eval() for network in adversaries(kind, 16, 3))
    z, labels = torch.randn(B, LATENT), torch.tensor([0, 2])
    with torch.no_grad():
        images = generator(z, labels)
        assert images.abs().max() <= 1
        logits = discriminator(images, labels)
        assert torch.equal(images, generator(z, labels))
        torch.testing.assert_close(generator(z[1:], labels[1:]), images[1:])
        torch.testing.assert_close(discriminator(images[1:], labels[1:]), logits[1:])


@pytest.mark.parametrize("kind", ADVERSARIES.kinds())
def test_conditional_adversaries_listen_to_the_label(kind):
    generator, discriminator = (network.eval() for network in adversaries(kind, 16, 3))
    z, labels = torch.randn(B, LATENT), torch.tensor([0, 2])
    with torch.no_grad():
        images = generator(z, labels)
        assert not torch.equal(images, generator(z, labels.flip(0)))
        assert not torch.equal(discriminator(images, labels), discriminator(images, labels.flip(0)))


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ADVERSARIES.kinds())
def test_a_timed_discriminator_listens_to_the_time(kind, classes):
    discriminator = awakened(adversaries(kind, 16, classes, timed=True).discriminator)
    x, time, labels = torch.randn(B, 3, 16, 16), torch.tensor([0.0, 999.0]), torch.tensor([0, 2]) if classes else None
    logits = discriminator(x, labels, time)
    assert logits.shape == (B,)
    logits.sum().backward()
    assert_all_gradients_are_finite(discriminator)
    discriminator.eval()
    with torch.no_grad():
        assert not torch.equal(discriminator(x, labels, time), discriminator(x, labels, time.flip(0)))


@pytest.mark.parametrize("kind", ADVERSARIES.kinds())
def test_a_gradient_penalty_reaches_every_weight(kind):
    """Only what is added to the logit after the last layer has no part in the gradient at the image."""
    discriminator = awakened(adversaries(kind, 16, 3).discriminator)
    x, labels = torch.randn(B, 3, 16, 16, requires_grad=True), torch.tensor([0, 2])
    (gradient,) = torch.autograd.grad(discriminator(x, labels).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    passed = [parameter for parameter in discriminator.parameters() if parameter.dim() > 1]
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in passed)


@pytest.mark.parametrize("kind", [*DENOISERS, *ADVERSARIES])
def test_the_initialisation_follows_the_global_seed(kind):
    def state(seed):
        torch.manual_seed(seed)
        made = denoiser(kind, 8, 3) if kind in DENOISERS else torch.nn.ModuleList(adversaries(kind, 8, 3))
        return torch.cat([p.flatten() for p in made.parameters()])

    assert torch.equal(state(1), state(1))
    assert not torch.equal(state(1), state(2))
