"""Adaptive diffusion against the numbers of its paper."""

import numpy as np
import pytest
import tiny
import torch

from gensweep.diffusion.schedules import SCHEDULES
from gensweep.errors import ConfigError
from gensweep.gan.ada import Ada
from gensweep.gan.adaptive_diffusion import AdaptiveDiffusion, timestep
from gensweep.gan.augmentation import STREAMS_PER_AUGMENTATION, Augmented, InTurn, Unchanged
from gensweep.noise import Noise

N, SIZE = 4000, 4


def diffusion(**settings):
    return AdaptiveDiffusion(schedule=SCHEDULES["linear"], **settings)


def noise(n=N):
    return Noise(5, torch.arange(n))


@pytest.mark.parametrize(("p", "length"), [(0.0, 10), (0.1, 109), (0.5, 505), (0.9, 901), (1.0, 1000)])
def test_the_length_goes_from_10_to_1000_with_p(p, length):
    made = diffusion()
    made.probability.fill_(p)
    assert float(made.length) == length == 10 + round(990 * p)
    assert float(made.signals()["diffusion_length"]) == length


@pytest.mark.parametrize("length", [1, 2, 10, 1000])
@pytest.mark.parametrize("priority", [True, False])
def test_timesteps_have_the_distribution_of_the_paper(length, priority):
    """Against counts at even u, which must be the probabilities to within one count."""
    grid = 2**17
    u = torch.arange(grid) / grid
    drawn = timestep(u, torch.tensor(float(length)), priority=priority).numpy()
    weights = np.arange(length) if priority and length > 1 else np.ones(length)
    expected = grid * weights / weights.sum()
    counts = np.bincount(drawn, minlength=length + 1)
    assert counts[0] == 0
    assert len(counts) == length + 1
    assert np.abs(counts[1:] - expected).max() <= 1.001


def test_half_of_the_images_are_clean_and_the_others_as_noisy_as_told():
    """Of black images what is left is the noise, whose variance at step t is (1 - alpha_bar_t) 0.05^2."""
    made = diffusion()
    made.probability.fill_(1.0)
    shown = made(torch.zeros(N, 3, SIZE, SIZE), noise(), STREAMS_PER_AUGMENTATION)
    clean = shown.time == 0
    assert float(clean.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert not shown.images[clean].any()
    betas = np.linspace(1e-4, 0.02, 1000)
    t = shown.time[~clean].round().long().numpy()
    std = np.sqrt(1 - np.cumprod(1 - betas)[t - 1]) * 0.05
    standard = shown.images[~clean].numpy() / std[:, None, None, None]
    assert standard.mean() == pytest.approx(0, abs=0.02)
    assert standard.std() == pytest.approx(1, abs=0.01)


def test_an_image_is_scaled_by_the_root_of_alpha_bar():
    made = diffusion()
    x = torch.ones(4, 1, 1, 1, requires_grad=True)
    y = made.diffuse(x, torch.tensor([0, 1, 500, 1000]), torch.zeros(4, 1, 1, 1))
    expected = torch.tensor([1, 0.9999, 0.0785872429, 4.03582977e-5], dtype=torch.float64).sqrt().float()
    torch.testing.assert_close(y.flatten(), expected, rtol=1e-6, atol=0)
    y.sum().backward()
    torch.testing.assert_close(x.grad.flatten(), expected, rtol=1e-6, atol=0)


def test_every_fourth_batch_moves_p_by_the_paper_s_step():
    """B 4 / (100 * 1000) for batches of B images, up as long as D is right about more than 80 % of them."""
    made, batch = diffusion(), 64
    for _ in range(3):
        made.observe(torch.ones(batch), batch)
    assert float(made.probability) == 0
    made.observe(torch.ones(batch), batch)
    assert float(made.probability) == pytest.approx(batch * 4 / 100_000)
    for _ in range(4):
        made.observe(torch.tensor([1.0] * 50 + [-1.0] * 14), batch)
    assert float(made.probability) == 0


def test_in_turn_diffuses_what_the_first_has_made_and_both_learn():
    shifted, n = Ada(images=100, interval=1), 16
    both = InTurn(shifted, diffusion(interval=1))
    assert both.timed
    assert both.settles
    both.observe(torch.ones(n), n)
    assert float(shifted.probability) == pytest.approx(0.16)
    assert set(both.signals()) == {"augmentation", "diffusion_length"}
    assert len(both.state_dict()) == 6
    x = noise(n).uniform(3, SIZE, SIZE, stream=0)
    expected = both.last(shifted(x, noise(n), STREAMS_PER_AUGMENTATION).images, noise(n), 2 * STREAMS_PER_AUGMENTATION)
    shown = both(x, noise(n), STREAMS_PER_AUGMENTATION)
    assert isinstance(shown, Augmented)
    assert torch.equal(shown.images, expected.images)
    assert torch.equal(shown.time, expected.time)


def test_a_diffusion_of_no_length_trains_like_the_plain_gan():
    """All images clean, and what the discriminator makes of times taken away."""
    plain = tiny.build("gan")
    family = tiny.build("diffusion_gan", gan={"latent": 6, "augmentation": {"kind": "none"}})
    for name, network in family.networks.items():
        network.load_state_dict(plain.networks[name].state_dict(), strict=False)
    torch.nn.init.zeros_(family.networks["discriminator"].time.embed[2].weight)
    torch.nn.init.zeros_(family.networks["discriminator"].time.embed[2].bias)
    clean = diffusion()
    clean.alpha_bar = torch.ones_like(clean.alpha_bar)
    family.gan.augmentation = InTurn(Unchanged(), clean)
    torch.testing.assert_close(tiny.values(family, tiny.batch()), tiny.values(plain, tiny.batch()))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="got shortest=20, longest=10"):
        diffusion(shortest=20, longest=10)
    with pytest.raises(ConfigError, match="no boundary between real and fake"):
        tiny.build("diffusion_gan", gan={"latent": 6, "loss": {"kind": "wasserstein"}})
