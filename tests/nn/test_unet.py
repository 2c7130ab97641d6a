from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gensweep.errors import ConfigError
from gensweep.nn.unet import CNN, Attention, UNet, UNetBlock, Upsample
from gensweep.training.cost import LiveBytes


@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 9).map(lambda n: 8 * n), multipliers=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_any_width_in_steps_of_8_and_any_multipliers_run(width, multipliers):
    network = UNet(1, 8, 0, width=width, multipliers=tuple(multipliers), blocks=1, attention=(4,))
    assert network(torch.randn(1, 1, 8, 8), torch.zeros(1), None).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(("size", "levels"), [(8, 3), (32, 5), (28, 3), (12, 3), (7, 1), (2, 1)])
def test_levels_are_limited_by_how_often_the_size_can_be_halved(size, levels):
    UNet(1, size, 0, width=8, multipliers=(1,) * levels, blocks=1)
    with pytest.raises(ConfigError, match=f"use at most {levels} multipliers"):
        UNet(1, size, 0, width=8, multipliers=(1,) * (levels + 1), blocks=1)


def attends_at(network):
    return [module for module in network.modules() if isinstance(module, Attention)]


def test_attention_is_where_it_was_asked_for():
    assert not attends_at(UNet(1, 16, 0, width=8, attention=()))
    # With 2 blocks a level: 2 on the way down, 3 on the way up, and 1 in the middle.
    assert len(attends_at(UNet(1, 16, 0, width=8, attention=(16,)))) == 6
    assert len(attends_at(UNet(1, 16, 0, width=8, attention=(16, 8)))) == 11
    assert len(attends_at(UNet(1, 16, 0, width=8, attention=(5,)))) == 1


def test_attention_equals_its_formula():
    layer = Attention(128)
    torch.nn.init.normal_(layer.out.weight)
    x = torch.randn(2, 128, 3, 3)
    qkv = layer.qkv(layer.norm(x).flatten(2).transpose(1, 2))
    heads = []
    for head in range(2):
        q, k, v = (qkv[..., i * 128 + head * 64 : i * 128 + (head + 1) * 64] for i in range(3))
        heads.append(torch.softmax(q @ k.transpose(1, 2) / 64**0.5, dim=-1) @ v)
    expected = x + layer.out(torch.cat(heads, dim=-1)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_upsampling_repeats_pixels_and_convolves():
    layer = Upsample(6).double()
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(layer(x), F.conv2d(repeated, layer.weight, layer.bias, padding=1))


def test_a_block_starts_as_the_identity_and_equals_its_formula():
    block = UNetBlock(16, 16, 8, dropout=0.0, attends=True)
    x, condition = torch.randn(2, 16, 4, 4), torch.randn(2, 8)
    torch.testing.assert_close(block(x, condition), x)
    conv = block.leave[2]
    torch.nn.init.normal_(conv.weight)
    scale, shift = block.scale_shift(condition)[:, :, None, None].chunk(2, dim=1)
    h = block.enter[2](F.silu(F.group_norm(x, 4)))
    expected = x + F.conv2d(F.silu(F.group_norm(h, 4) * (1 + scale) + shift), conv.weight, padding=1)
    torch.testing.assert_close(block(x, condition), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "multipliers"),
    [
        *((size, (1, 2, 2)) for size in (8, 16, 32)),
        (64, (1, 2, 3, 4)),
        (128, (1, 1, 2, 3, 4)),
        (256, (1, 1, 2, 2, 4, 4)),
        (12, (1, 2, 2)),
        (68, (1, 2, 3)),
        (6, (1,)),
    ],
)
def test_levels_follow_the_size_unless_they_are_given(size, multipliers):
    with torch.device("meta"):
        default, given = (UNet(1, size, 0, width=8, blocks=1, **more) for more in ({}, {"multipliers": multipliers}))
    assert {name: each.shape for name, each in default.state_dict().items()} == {
        name: each.shape for name, each in given.state_dict().items()
    }


@pytest.mark.trains
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_checkpointing_saves_memory_and_changes_no_gradient(layout, precision):
    x, time = torch.randn(16, 3, 16, 16), 60.0 * torch.arange(16)
    results, peaks = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = UNet(3, 16, 0, width=16, blocks=2, attention=(8,), dropout=0.3, checkpointing=checkpointing)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        network.to(memory_format=layout)
        torch.manual_seed(1)
        with LiveBytes() as live:
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                out = network(x, time, None)
            out.float().square().mean().backward()
        results.append([out.detach(), *(parameter.grad for parameter in network.parameters())])
        peaks.append(max(accumulate(live.changes)))
    assert all(torch.equal(plain, again) for plain, again in zip(*results, strict=True))
    assert peaks[1] < 0.75 * peaks[0]


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_it_sees_far():
    network = CNN(1, 32, 0, width=8, depth=4).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    # The norms look everywhere, so only their scale is kept.
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x
    network(x, torch.zeros(1), None)[0, 0, 16, 16].backward()
    assert x.grad[0, 0, 16].ne(0).sum() >= 31


def test_its_size_is_of_the_order_that_its_docstring_states():
    assert parameters(CNN(3, 32, 0)) == pytest.approx(2.7e6, rel=0.03)
    assert parameters(UNet(3, 32, 0)) == pytest.approx(6.9e6, rel=0.03)
    assert parameters(UNet(3, 32, 0, multipliers=(1, 2), blocks=1)) == pytest.approx(3.0e6, rel=0.03)
