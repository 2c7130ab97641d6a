import pytest
import torch

from gensweep.diffusion.guidance import guided, scale_at, training_labels
from gensweep.noise import Noise

NULL = 3


class Network:
    """Gives 10 for no label, else the label; counts its calls and images."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, time, labels):
        assert time.shape == labels.shape == (len(x),)
        self.batches.append(len(x))
        value = torch.where(labels == NULL, 10, labels).float()
        return x + value.view(-1, 1, 1, 1)


def run(scale):
    network = Network()
    x = torch.randn(3, 1, 2, 2)
    out = guided(network, x, torch.zeros(3), torch.tensor([0, 1, 2]), null=NULL, scale=scale)
    return (out - x)[:, 0, 0, 0], network.batches


def test_scales_0_and_1_take_one_pass():
    for scale, expected in ((0.0, [10.0, 10.0, 10.0]), (1.0, [0.0, 1.0, 2.0])):
        out, batches = run(scale)
        torch.testing.assert_close(out, torch.tensor(expected))
        assert batches == [3]


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.5, 4.0, -1.0])
def test_other_scales_extrapolate_with_one_doubled_batch(scale):
    out, batches = run(scale)
    torch.testing.assert_close(out, 10 + scale * (torch.tensor([0.0, 1.0, 2.0]) - 10), rtol=1e-5, atol=1e-5)
    assert batches == [6]


def test_guidance_is_used_within_its_interval():
    levels = [0.002, 0.3, 0.31, 2.0, 5.0, 5.1, 80.0]
    assert [scale_at(sigma, 3.0, (0.3, 5.0)) for sigma in levels] == [1, 1, 3, 3, 3, 1, 1]
    assert [scale_at(sigma, 3.0, None) for sigma in levels] == [3] * 7
    # Outside of the interval the label still counts, even where guidance would ignore it.
    assert scale_at(80.0, 0.0, (0.3, 5.0)) == 1


def test_a_share_of_the_labels_is_dropped_one_by_one():
    labels = torch.arange(4000) % 3
    shown = training_labels(labels, Noise(0, torch.arange(4000)), classes=NULL, dropout=0.25)
    dropped = shown == NULL
    assert torch.equal(shown[~dropped], labels[~dropped])
    assert float(dropped.double().mean()) == pytest.approx(0.25, abs=0.03)
    assert training_labels(labels, Noise(0, torch.arange(4000)), classes=0, dropout=0.25) is None
