"""The diffusion family against closed forms."""

import torch
from tiny import CLASSES, SIZE, batch, build

from gensweep.diffusion.guidance import LABEL_DROPOUT_STREAM
from gensweep.diffusion.samplers.sampler import START_STREAM
from gensweep.families.denoising import TRAINING_NOISE_STREAM
from gensweep.families.diffusion import DiffusionFamily
from gensweep.noise import Noise


class Recorder(torch.nn.Module):
    """A denoiser that knows nothing and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, time, labels):
        self.calls.append((x, time, labels))
        return torch.zeros_like(x)


def test_the_loss_of_a_zero_network_is_the_power_of_the_noise():
    family, data = build("diffusion"), batch()
    (loss,) = family.losses({"denoiser": Recorder()}, data)
    torch.testing.assert_close(
        loss.value, data.noise.normal(1, SIZE, SIZE, stream=TRAINING_NOISE_STREAM).square().mean()
    )


def test_labels_are_dropped_image_by_image_at_the_given_rate():
    family, network = build("diffusion", conditional=True, label_dropout=0.25), Recorder()
    data = batch(2000)
    list(family.losses({"denoiser": network}, data))
    labels = network.calls[0][2]
    dropped = labels == CLASSES
    assert 0.2 < dropped.float().mean() < 0.3
    assert torch.equal(dropped, data.noise.uniform(stream=LABEL_DROPOUT_STREAM) < 0.25)
    assert torch.equal(labels[~dropped], data.labels[~dropped])


def test_training_visits_all_steps_on_the_scale_of_the_networks():
    family, network = build("diffusion", diffusion={"timesteps": 4}), Recorder()
    list(family.losses({"denoiser": network}, batch(200)))
    assert set(network.calls[0][1].tolist()) == {0.0, 250.0, 500.0, 750.0}


def test_sampling_starts_from_noise_and_guidance_doubles_the_batch():
    labels = torch.arange(4) % CLASSES
    noise = Noise(5, torch.arange(4))
    for guidance, size in ((1.0, 4), (3.0, 8), (0.0, 4)):
        family, network = build("diffusion", conditional=True, guidance=guidance), Recorder()
        family.sample(network, noise, labels)
        x, _, asked = network.calls[0]
        torch.testing.assert_close(x[:4], noise.normal(1, SIZE, SIZE, stream=START_STREAM))
        expected = {1.0: labels, 0.0: torch.full((4,), CLASSES)}
        assert len(x) == size
        assert torch.equal(asked, expected.get(guidance, torch.cat([torch.full((4,), CLASSES), labels])))


def test_only_the_highest_levels_are_exempt_from_the_sampling_precision():
    seen = []

    class Listener(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 1)

        def forward(self, x, time, labels):
            seen.append(self.layer.weight.dtype)
            return self.layer(x)

    family = build("diffusion", sampling_precision="bfloat16")
    denoise = family.denoise(Listener(), None)
    for sigma in (1000.0, DiffusionFamily.max_coarse_sigma, 0.1):
        assert denoise(torch.zeros(1, 1, SIZE, SIZE), sigma).dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16, torch.bfloat16]
    family = build("diffusion", sampling_precision="float32")
    family.denoise(Listener(), None)(torch.zeros(1, 1, SIZE, SIZE), 0.1)
    assert seen[-1] == torch.float32
