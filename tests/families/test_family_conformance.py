"""What every registered family must do, so that loop, evaluation and reports can rely on it."""

import pytest
import torch
from tiny import CLASSES, SIZE, batch, build, values

from gensweep.families.family import FAMILIES, BoundPoints, Likelihood
from gensweep.noise import Noise

CONDITIONAL = [(kind, conditional) for kind in FAMILIES for conditional in (False, True)]
LIKELY = [(kind, conditional) for kind, conditional in CONDITIONAL if isinstance(build(kind, conditional), Likelihood)]


@pytest.mark.parametrize(("kind", "conditional"), CONDITIONAL)
def test_a_step_has_finite_scalar_losses_and_updates_every_network_once(kind, conditional):
    family = build(kind, conditional)
    updates = []
    for loss in family.losses(family.networks, batch()):
        assert loss.value.shape == ()
        assert torch.isfinite(loss.value)
        torch.autograd.backward(loss.value)
        updates += [loss.network] if loss.update else []
    assert sorted(updates) == sorted(family.networks)


@pytest.mark.parametrize(("kind", "conditional"), CONDITIONAL)
def test_every_parameter_gets_a_gradient(kind, conditional):
    """Data-parallel training waits for the gradient of every parameter."""
    family = build(kind, conditional)
    for loss in family.losses(family.networks, batch()):
        torch.autograd.backward(loss.value)
    for name, network in family.networks.items():
        assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == [], name


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_each_network_has_a_fresh_optimizer_of_all_its_parameters(kind):
    family = build(kind)
    assert set(family.optimizers()) == set(family.networks)
    for name, optimizer in family.optimizers().items():
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        assert held == {id(parameter) for parameter in family.networks[name].parameters()}
        assert optimizer is not family.optimizers()[name]


@pytest.mark.parametrize(("kind", "conditional"), CONDITIONAL)
def test_losses_depend_on_nothing_but_weights_and_batch(kind, conditional):
    family = build(kind, conditional)
    for network in family.networks.values():
        network.eval()  # no dropout, and no statistics of the batch
    assert values(family, batch()) == values(family, batch())


@pytest.mark.parametrize(("kind", "conditional"), CONDITIONAL)
def test_samples_are_images_in_range_that_do_not_depend_on_the_batch(kind, conditional):
    family = build(kind, conditional)
    network = family.networks[family.sampled].eval()
    labels = torch.arange(5) % CLASSES if family.classes else None
    with torch.no_grad():
        whole = family.sample(network, Noise(3, torch.arange(5)), labels)
        part = family.sample(network, Noise(3, torch.arange(2, 4)), None if labels is None else labels[2:4])
    assert whole.shape == (5, 1, SIZE, SIZE)
    assert whole.dtype == torch.float32
    assert whole.abs().max() <= 1
    torch.testing.assert_close(whole[2:4], part, rtol=0, atol=1e-5)
    assert len({tuple(image.flatten().tolist()) for image in whole}) == 5


@pytest.mark.parametrize(("kind", "conditional"), LIKELY)
def test_the_likelihood_of_an_image_does_not_depend_on_its_batch(kind, conditional):
    family, data = build(kind, conditional), batch()
    network = family.networks[family.sampled].eval()
    images = ((data.images + 1) * 127.5).round() / 127.5 - 1

    def bits(part):
        labels = data.labels[part] if family.classes else None
        noise = Noise(data.noise.key, data.noise.samples[part])
        with torch.no_grad():
            return family.bits_per_dim(network, images[part], labels, noise, BoundPoints(3, 3))

    whole = bits(slice(0, 6))
    assert whole.shape == (6,)
    assert whole.dtype == torch.float64
    assert torch.isfinite(whole).all()
    # Pictures of uniform pixels have 8 bits a value, and no model can do better.
    assert float(whole.mean()) > 7.5
    torch.testing.assert_close(bits(slice(2, 4)), whole[2:4], rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_a_conditional_family_draws_what_the_label_says(kind):
    family = build(kind, conditional=True)
    assert family.classes == CLASSES
    network = family.networks[family.sampled].eval()
    torch.nn.init.normal_(next(p for n, p in network.named_parameters() if "label" in n))
    for name, parameter in network.named_parameters():
        if not parameter.any() and "bias" not in name:
            torch.nn.init.normal_(parameter, std=0.1)  # what starts as nothing would hide the label
    noise = Noise(3, torch.zeros(CLASSES, dtype=torch.int64))
    with torch.no_grad():
        images = family.sample(network, noise, torch.arange(CLASSES))
    assert (images[0] - images[1]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_an_unconditional_family_does_not_look_at_labels(kind):
    family = build(kind, conditional=False)
    assert family.classes == 0
    for network in family.networks.values():
        network.eval()
    one = batch()
    other = one._replace(labels=one.labels.flip(0))
    assert values(family, one) == values(family, other)
