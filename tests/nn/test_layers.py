import pytest
import torch
from torch import nn

from gensweep.kernels.norm_act import Dropout
from gensweep.nn.layers import BatchNorm2d, group_norm


def test_groups_divide_the_channels_and_hold_at_least_four():
    for channels in (*range(8, 300, 8), 4, 6, 7):
        norm = group_norm(channels)
        assert channels % norm.num_groups == 0
        assert norm.num_groups <= 32
        assert norm.num_groups == 1 or channels // norm.num_groups >= 4
    assert [group_norm(channels).num_groups for channels in (128, 256, 384)] == [32, 32, 32]


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9, 0.999999])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_keeps_the_mean_and_drops_the_stated_share(p, memory_format):
    x = torch.ones(8, 16, 50, 51).contiguous(memory_format=memory_format).requires_grad_()
    y = Dropout(p)(x)
    y.sum().backward()
    assert y.is_contiguous(memory_format=memory_format)
    assert torch.equal(x.grad, y.detach())
    assert float((y == 0).float().mean()) == pytest.approx(p, abs=2e-3)
    if p < 0.99:
        torch.testing.assert_close(y.detach().max(), torch.tensor(1 / (1 - p)), rtol=1e-3, atol=0)


def test_dropout_masks_are_independent_of_place_and_of_one_another():
    layer, x = Dropout(0.3), torch.ones(1, 1, 400, 400)
    first, second = layer(x).flatten(), layer(x).flatten()
    for other in (second, first.roll(1), first.roll(2), first.roll(4), first.roll(400)):
        assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 0.01


def test_dropout_drops_the_same_elements_in_every_layout_and_precision():
    x, dropped = torch.randn(3, 5, 8, 4), []
    for given in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(0, 1).contiguous().transpose(0, 1)):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            torch.manual_seed(4)
            dropped.append(Dropout(0.5)(given.to(dtype)) == 0)
    assert all(torch.equal(each, dropped[0]) for each in dropped)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_a_single_process_is_pytorchs_own(training):
    own, reference = BatchNorm2d(3).train(training), nn.BatchNorm2d(3).train(training)
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(own(x), reference(x))
    assert all(torch.equal(a, b) for a, b in zip(own.buffers(), reference.buffers(), strict=True))
    assert own.state_dict().keys() == reference.state_dict().keys()
