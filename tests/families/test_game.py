"""The turns of the game, beyond the plain recipe."""

import pytest
import tiny
import torch
from tiny import batch, build

from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.gan.adversarial_losses import GAN_LOSSES, PENALTIES
from gensweep.gan.augmentation import AUGMENTATIONS, Augmentation, Augmented
from gensweep.nn.networks import ADVERSARIES
from gensweep.training.loop import train

NETWORKS = {kind: {"kind": kind, "width": 8} for kind in ADVERSARIES}
NETWORKS["sngan"]["discriminator_width"] = 8


def turns(family, step):
    names = []
    for loss in family.losses(family.networks, batch()._replace(step=step)):
        loss.value.backward()
        names.append(loss.name)
    return names


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.kinds())
@pytest.mark.parametrize("penalty", PENALTIES.kinds())
@pytest.mark.parametrize("network", ADVERSARIES.kinds())
def test_every_choice_goes_with_every_other(network, penalty, augmentation, conditional):
    """Every parameter gets a finite gradient, for each of its losses, as data-parallel training waits for them."""
    gan = {"latent": 6, "penalty": {"kind": penalty}, "augmentation": {"kind": augmentation}}
    family = build("gan", conditional, network=NETWORKS[network], gan=gan)
    for loss in family.losses(family.networks, batch()):
        family.networks[loss.network].zero_grad()
        loss.value.backward()
        assert torch.isfinite(loss.value)
        gradients = [parameter.grad for parameter in family.networks[loss.network].parameters()]
        assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients), loss.name


@pytest.mark.parametrize("loss", GAN_LOSSES.kinds())
def test_every_loss_takes_a_step(loss):
    family = build("gan", gan={"latent": 6, "loss": {"kind": loss}})
    assert turns(family, 0) == (["pairs"] if loss == "relativistic" else ["real", "fake"]) + ["generator"]
    signals = {name for each in family.losses(family.networks, batch()) for name in each.signals}
    # A critic draws no line between real and fake.
    accuracies = {"relativistic": {"accuracy_pairs"}, "wasserstein": set()}.get(
        loss, {"accuracy_real", "accuracy_fake"}
    )
    assert signals == {"logit_real", "logit_fake"} | accuracies


def test_generator_steps_and_lazy_penalties_keep_their_intervals():
    gan = {"latent": 6, "discriminator_steps": 3, "penalty": {"kind": "r1", "every": 2}}
    family = build("gan", gan=gan)
    assert [turns(family, step) for step in range(4)] == [
        ["real", "penalty", "fake", "generator"],
        ["real", "fake"],
        ["real", "penalty", "fake"],
        ["real", "fake", "generator"],
    ]


def test_a_loss_is_averaged_over_the_steps_in_which_it_occurs():
    learner = tiny.learner(
        "gan", images=48, log_every=48, family={"gan": {"latent": 6, "discriminator_steps": 3}}, ema_half_life=0
    )
    updates = []
    learner.optimizers["generator"].register_step_pre_hook(lambda *_: updates.append(learner.images // 8))
    (progress,) = filter(None, train(learner, Loader(tiny.images(), seed=3)))
    assert updates == [0, 3]
    assert learner.period == 3
    assert 0.5 < progress.losses["generator"] < 1  # about ln 2, of two steps and not of six


def test_adaptive_augmentation_logs_its_probability_and_needs_verdicts():
    ada = {"latent": 6, "augmentation": {"kind": "ada"}}
    family = build("gan", gan=ada)
    names = {name for loss in family.losses(family.networks, batch()) for name in loss.signals}
    assert "augmentation" in names
    with pytest.raises(ConfigError, match="no boundary between real and fake"):
        build("gan", gan=ada | {"loss": {"kind": "wasserstein"}})


def test_augmentation_reaches_real_fake_and_generator_gradients():
    """A hole over the whole image would leave the generator without a gradient."""
    family = build("gan")
    calls = []

    class Blind(Augmentation):
        def forward(self, images, noise, stream):
            calls.append(stream)
            return Augmented(images * 0)

        def observe(self, signs, total):
            calls.append(("observed", len(signs), total))

    family.gan.augmentation = Blind()
    for loss in family.losses(family.networks, batch()):
        loss.value.backward()
    assert all(not parameter.grad.any() for parameter in family.networks["generator"].parameters())
    assert len(set(calls[:3])) == 3
    assert calls[3] == ("observed", 6, 6)
