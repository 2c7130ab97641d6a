from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gensweep.kernels.norm_act import Dropout
from gensweep.nn.layers import BatchNorm2d, Conditioning, group_norm


def test_groups_divide_the_channels_and_hold_at_least_four():
    for channels in (*range(8, 300, 8), 4, 6, 7):
        norm = group_norm(channels)
        assert channels % norm.num_groups == 0
        assert norm.num_groups <= 32
        assert norm.num_groups == 1 or channels // norm.num_groups >= 4
    assert [group_norm(channels).num_groups for channels in (128, 256, 384)] == [32, 32, 32]


def test_times_are_embedded_as_sines_and_cosines_from_one_turn_a_step_to_ten_thousand():
    condition = Conditioning(8, 0)
    torch.testing.assert_close(condition.frequencies, torch.tensor([1.0, 0.1, 0.01, 0.001]))


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


@pytest.mark.parametrize("layer", [Dropout(0.5).eval(), Dropout(0.0)])
def test_dropout_does_nothing_in_evaluation_or_with_probability_0(layer):
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(layer(x), x)


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


def network(norm):
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Conv2d(2, 4, 3), norm(4), nn.LeakyReLU(0.2), nn.Conv2d(4, 3, 3), norm(3), nn.Tanh())
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layers.double()


def batch():
    generator = torch.Generator().manual_seed(5)
    return 3 + 2 * torch.randn(6, 2, 8, 8, generator=generator, dtype=torch.float64)


def step(layers, x):
    """Output, gradients of the input and of the parameters, and buffers, after two forwards and one backward."""
    x = x.clone().requires_grad_()
    layers(x * 0.5 - 1)
    out = layers(x)
    out.square().mean().backward()
    bare = layers.module if isinstance(layers, DistributedDataParallel) else layers
    parameters = [parameter.grad for parameter in bare.parameters()]
    return out.detach(), x.grad, parameters, [buffer.clone() for buffer in bare.buffers()]


#: How many images of a batch each rank has.
SHARES = {"equal": [3, 3], "unequal": [2, 4]}


def worker(rank, meeting):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    results = {}
    for name, sizes in SHARES.items():
        x = batch().split(sizes)[rank]
        layers = DistributedDataParallel(network(BatchNorm2d))
        # Numbers of images differ between ranks in one case, so the loss is scaled to be a mean over all of them.
        x.requires_grad_()
        layers(x.detach() * 0.5 - 1)
        out = layers(x)
        (out.square().sum() * 2 / (out[0].numel() * sum(sizes))).backward()
        result = out.detach(), x.grad / 2, [p.grad for p in layers.module.parameters()], list(layers.module.buffers())
        results[name] = [
            part.numpy() if isinstance(part, torch.Tensor) else [t.numpy() for t in part] for part in result
        ]
    return results


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two ranks computed."""
    meeting = tmp_path_factory.mktemp("ranks") / "meeting"
    # A process that dies ends the test, which would wait for ever for a queue.
    with ProcessPoolExecutor(2, mp.get_context("forkserver")) as processes:
        return list(processes.map(worker, range(2), [meeting] * 2))


@pytest.mark.trains
@pytest.mark.parametrize("shares", SHARES)
def test_batch_norm_on_two_ranks_equals_one_rank_with_the_joined_batch(ranks, shares):
    sizes, results = SHARES[shares], [ranks[rank][shares] for rank in range(2)]
    out, x_grad, grads, buffers = step(network(nn.BatchNorm2d), batch())
    for ours, part in ((results[0], slice(0, sizes[0])), (results[1], slice(sizes[0], None))):
        torch.testing.assert_close(torch.from_numpy(ours[0]), out[part], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(torch.from_numpy(ours[1]), x_grad[part], rtol=1e-9, atol=1e-12)
        for own, reference in zip(ours[2], grads, strict=True):
            torch.testing.assert_close(torch.from_numpy(own), reference, rtol=1e-9, atol=1e-12)
        for own, reference in zip(ours[3], buffers, strict=True):
            torch.testing.assert_close(torch.from_numpy(own), reference, rtol=1e-9, atol=1e-12)
