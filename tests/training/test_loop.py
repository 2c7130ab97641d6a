"""The loop: events, budget, warm-up, clipping, and losses that are not finite."""

import math

import pytest
import tiny
import torch
from kernel_paths import running_on

from gensweep.data.loader import Loader
from gensweep.errors import GensweepError
from gensweep.families.denoising import DenoisingFamily
from gensweep.families.family import FAMILIES
from gensweep.nn.precision import uses_bfloat16
from gensweep.training.loop import train
from gensweep.training.timing import set_pace

pytestmark = pytest.mark.trains


def events(learner, rungs=()):
    return [event for event in train(learner, Loader(tiny.images(), seed=3), rungs) if event]


def test_events_come_at_multiples_and_after_rungs():
    """A budget is rounded up to whole batches of 8; two rungs in one batch are due once."""
    learner = tiny.learner("gan", images=70, log_every=24)
    seen = [(event.images, event.due) for event in events(learner, [29, 31, 64])]
    assert seen == [(24, False), (32, True), (48, False), (64, True), (72, True)]
    assert events(learner) == []


def test_logged_losses_are_means_over_the_images_since_the_last_event():
    learner = tiny.learner("diffusion", images=32, log_every=32)
    (progress,) = events(learner)
    single = tiny.learner("diffusion", images=32, log_every=8)
    means = [event.losses["diffusion"] for event in events(single)]
    assert progress.losses["diffusion"] == pytest.approx(sum(means) / 4)


@pytest.mark.parametrize(("every", "discriminator_steps"), [(1, 1), (16, 7)])
def test_training_ends_in_time_whatever_recurs_in_its_game(every, discriminator_steps, monkeypatch):
    """By a clock on which each of up to 40 steps takes a tenth of a second; the losses recur after up to 112."""
    penalty, network = {"kind": "r1", "every": every}, {"kind": "dcgan", "width": 8, "discriminator_norm": "layer"}
    game = {"latent": 6, "penalty": penalty, "discriminator_steps": discriminator_steps}
    family = {"network": network, "gan": game}
    learner = tiny.learner("gan", conditional=False, images=10**6, device_seconds=4.0, family=family)
    clock, step, looks = [0.0], learner.step, []

    def slow(loader):
        step(loader)
        clock[0] += 0.1

    def look(device):
        looks.append(clock[0])
        return clock[0]

    monkeypatch.setattr(learner, "step", slow)
    monkeypatch.setattr("gensweep.training.timing.synchronised_time", look)
    set_pace(learner, Loader(tiny.images(), seed=3))
    assert len(looks) < 12
    events(learner)
    assert clock[0] == pytest.approx(4.0, abs=0.11)


@pytest.mark.parametrize("kind", ["diffusion", "gan", "vdm"])
def test_a_loss_that_is_not_finite_is_an_error(kind):
    learner = tiny.learner(kind)
    network = next(iter(learner.family.networks.values()))
    next(network.parameters()).data.fill_(float("nan"))
    with pytest.raises(GensweepError, match=rf"{kind}: the loss '\w+' became nan before 16 images; lower"):
        events(learner)


def test_no_evaluation_is_due_once_a_loss_is_not_finite():
    learner = tiny.learner("diffusion", images=64, log_every=1000)
    training = filter(None, train(learner, Loader(tiny.images(), seed=3), [16, 32, 48]))
    assert next(training).due
    next(learner.family.networks["denoiser"].parameters()).data.fill_(float("inf"))
    with pytest.raises(GensweepError):
        next(training)


def test_learning_rate_warms_up_in_a_line_and_decays():
    """From the decay on it falls as the inverse root of the images."""
    learner = tiny.learner("diffusion", family={"optimizer": {"learning_rate": 1e-3, "warmup": 32, "decay": 32}})
    loader, rates = Loader(tiny.images(), seed=3), []
    for _ in range(8):
        learner.step(loader)
        rates.append(learner.optimizers["denoiser"].param_groups[0]["lr"])
    assert rates[:4] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])
    assert rates[7] == pytest.approx(1e-3 / math.sqrt(2))


def test_gradients_are_clipped_to_a_norm_before_the_update():
    clip = 1e-3
    learner = tiny.learner("diffusion", family={"optimizer": {"clip": clip}})
    norms = []
    optimizer = learner.optimizers["denoiser"]

    def watch(optimizer, args, kwargs):
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.nn.utils.get_total_norm(grads)))

    optimizer.register_step_pre_hook(watch)
    learner.step(Loader(tiny.images(), seed=3))
    assert norms == [pytest.approx(clip, rel=1e-3)]


def test_raw_weights_are_sampled_without_an_average():
    learner = tiny.learner("gan", ema_half_life=0)
    assert learner.sampler is learner.family.networks["generator"]
    assert tiny.learner("gan").sampler is not learner.family.networks["generator"]


def test_precision_is_what_was_asked_for():
    cpu = torch.device("cpu")
    assert uses_bfloat16("bfloat16", cpu)
    assert not uses_bfloat16("float32", cpu)
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        learner, seen = tiny.learner("diffusion", precision=precision), []
        layer = learner.family.networks["denoiser"].first
        layer.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output.dtype))
        learner.step(Loader(tiny.images(), seed=3))
        assert seen == [dtype]


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if issubclass(FAMILIES[kind], DenoisingFamily)])
def test_a_training_with_dropout_is_the_same_with_and_without_the_kernel(kind):
    def weights(path, steps, seed=3):
        with running_on(path):
            learner = tiny.learner(kind, seed=seed, family={"network": tiny.network(kind, dropout=0.3)})
            for _ in range(steps):
                learner.step(Loader(tiny.images(), seed=3))
        return torch.cat([each.detach().flatten() for each in learner.family.networks["denoiser"].parameters()])

    start, compiled = weights("c++", 0), weights("c++", 6)
    plain, other = weights("torch", 6), weights("torch", 6, seed=4)
    moved = float((plain - start).norm())
    assert float((compiled - plain).norm()) < 1e-3 * moved
    assert float((other - plain).norm()) > 0.1 * moved  # other noise and masks do show
