import pytest
import torch
from torch.nn import functional as F

from gensweep.gan.adversarial_losses import GAN_LOSSES, GanLoss, relativistic

SEPARATE = [kind for kind in GAN_LOSSES if isinstance(GAN_LOSSES[kind](), GanLoss)]
logits = torch.tensor([-80.0, -2.0, -0.3, 0.0, 0.7, 3.0, 90.0])
ones, zeros = torch.ones(7), torch.zeros(7)

#: generator, discriminator on real, discriminator on fake, by PyTorch's own losses.
FORMULAS = {
    "non_saturating": (
        lambda x: F.binary_cross_entropy_with_logits(x, ones),
        lambda x: F.binary_cross_entropy_with_logits(x, ones),
        lambda x: F.binary_cross_entropy_with_logits(x, zeros),
    ),
    "hinge": (
        lambda x: -x.mean(),
        lambda x: F.hinge_embedding_loss(x, -ones, margin=1.0),
        lambda x: F.hinge_embedding_loss(-x, -ones, margin=1.0),
    ),
    "least_squares": (
        lambda x: F.mse_loss(x, ones) / 2,
        lambda x: F.mse_loss(x, ones) / 2,
        lambda x: F.mse_loss(x, zeros) / 2,
    ),
    "wasserstein": (lambda x: -x.mean(), lambda x: -x.mean(), lambda x: x.mean()),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_losses_equal_pytorchs(kind):
    for part, formula in zip(GAN_LOSSES[kind]()[:3], FORMULAS[kind], strict=True):
        torch.testing.assert_close(part(logits), formula(logits))


@pytest.mark.parametrize("kind", [kind for kind in SEPARATE if GAN_LOSSES[kind]().boundary is not None])
def test_the_boundary_is_where_real_and_fake_are_as_dear(kind):
    """At the logit of the boundary, calling an image real or fake costs the discriminator the same."""
    loss = GAN_LOSSES[kind]()
    at = torch.tensor([loss.boundary])
    torch.testing.assert_close(loss.discriminator_real(at), loss.discriminator_fake(at))
    torch.testing.assert_close(
        loss.discriminator_real(at + 1) - loss.discriminator_fake(at + 1) < 0, torch.tensor(True)
    )


def test_the_relativistic_loss_is_a_cross_entropy_of_pairs():
    ahead = logits.clone().requires_grad_()
    value = relativistic().of(ahead)
    torch.testing.assert_close(value.detach(), F.binary_cross_entropy_with_logits(logits, ones))
    (gradient,) = torch.autograd.grad(value, ahead)
    torch.testing.assert_close(gradient, (torch.sigmoid(logits) - 1) / len(logits))
    torch.testing.assert_close(relativistic().of(logits.repeat(3)), value.detach())
