"""The transformer against its plan, against diffusers, and its symmetries."""

import diffusers
import pytest
import torch
from torch import nn

from gensweep.errors import ConfigError
from gensweep.nn.dit import DiT
from gensweep.nn.unet import UNet
from gensweep.training.cost import flop_counter


def awake(network):
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def inputs(size=8, channels=3, classes=4):
    torch.manual_seed(3)
    return torch.randn(3, channels, size, size), torch.tensor([0.0, 3.7, 999.0]), torch.tensor([0, 2, classes])


def multiply_adds(network, size):
    with flop_counter() as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size), torch.zeros(1), None)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("registers", [0, 3])
def test_patches_that_move_with_their_positions_move_the_prediction(registers):
    """Nothing else says where a patch is, and registers have no place."""
    network = awake(DiT(3, 8, 4, patch=2, width=16, depth=2, registers=registers))
    x, time, labels = inputs()
    order = torch.randperm(16)

    def moved(images):
        patches = images.unflatten(3, (4, 2)).unflatten(2, (4, 2)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        return patches[:, order].unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    with torch.no_grad():
        expected = moved(network(x, time, labels))
        assert not torch.allclose(network(moved(x), time, labels), expected, atol=1e-3)
        network.positions.copy_(network.positions[order])
        torch.testing.assert_close(network(moved(x), time, labels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_it_is_the_transformer_of_diffusers(patch):
    """`DiTTransformer2DModel` with the same weights, from patches to image; how time is embedded is gensweep's own."""
    mine = awake(DiT(3, 8, 4, 5, patch=patch, width=32, depth=2, heads=4))
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=3,
        out_channels=5,
        num_layers=2,
        sample_size=8,
        patch_size=patch,
        num_embeds_ada_norm=4,
        norm_eps=1e-6,
    ).eval()
    x, time, labels = inputs()
    activation, mine.condition.act = mine.condition.act, nn.Identity()
    with torch.no_grad():
        condition = mine.condition(time, labels)
    mine.condition.act = activation
    last = mine.last.weight.detach()[:, :, 0, 0].unflatten(0, (5, patch, patch))
    pairs = [(mine.first, theirs.pos_embed.proj), (mine.modulation, theirs.proj_out_1)]
    for block, twin in zip(mine.blocks, theirs.transformer_blocks, strict=True):
        twin.norm1.emb = Given(condition)
        pairs += [(block.modulation, twin.norm1.linear), (block.attention.out, twin.attn1.to_out[0])]
        pairs += [(block.mlp[0], twin.ff.net[0].proj), (block.mlp[2], twin.ff.net[2])]
        for part, layer in zip(range(3), (twin.attn1.to_q, twin.attn1.to_k, twin.attn1.to_v), strict=True):
            qkv = block.attention.qkv
            layer.load_state_dict({"weight": qkv.weight.chunk(3)[part], "bias": qkv.bias.chunk(3)[part]})
    for source, target in pairs:
        target.load_state_dict(source.state_dict())
    bias = mine.last.bias.detach().unflatten(0, (5, patch, patch)).permute(1, 2, 0).flatten()
    theirs.proj_out_2.load_state_dict({"weight": last.permute(1, 2, 0, 3).flatten(0, 2), "bias": bias})
    with torch.no_grad():
        expected = theirs(x, timestep=time.long(), class_labels=labels).sample
        result = mine(x, time, labels)
    assert expected.std() > 0.1
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


class Given(nn.Module):
    """A condition that is already there."""

    def __init__(self, condition):
        super().__init__()
        self.condition = condition

    def forward(self, *_, **__):
        return self.condition


def test_its_size_and_its_work_are_those_that_its_docstring_states():
    """Attention counts: queries with keys, and weights with values, are n^2 products of the width each."""
    network, n, width = DiT(3, 32, 0), 256, 192
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(8.2e6, rel=0.01)
    assert sum(p.numel() for p in DiT(3, 32, 0, width=64, depth=4).parameters()) == pytest.approx(0.33e6, rel=0.01)
    block = n * 12 * width**2 + 2 * n**2 * width + 6 * width**2
    around = 2 * n * width * 12 + 2 * width**2 + width**2 + 256 * width
    assert multiply_adds(network, 32) == 12 * block + around
    assert multiply_adds(UNet(3, 32, 0), 32) == pytest.approx(1.5e9, rel=0.05)


def test_checkpointing_changes_no_gradient():
    x, time, labels = inputs()
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        network = awake(DiT(3, 8, 4, width=16, depth=2, checkpointing=checkpointing)).train()
        network(x, time, labels).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 3}, "patch: 3 does not divide images of 16 px; use one of 1, 2, 4, 8, 16"),
        ({"width": 24, "heads": 5}, "heads: 5 does not divide the width of 24; use one of 1, 2, 3, 4, 6, 8, 12, 24"),
    ],
)
def test_what_does_not_divide_is_refused_with_what_would(settings, message):
    with pytest.raises(ConfigError, match=message):
        DiT(3, 16, 0, **settings)
