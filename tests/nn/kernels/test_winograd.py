"""Convolutions by the compiled kernel and by PyTorch, against float64 and against one another."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, needs_kernel, running_on
from torch import nn
from torch.nn import functional as F

from gensweep.nn.convolutions import SameConv2d
from gensweep.nn.kernels import library, same_conv, winograd
from gensweep.nn.unet import Upsample
from gensweep.training.cost import flop_counter

#: Relative errors of a whole tensor.
TOLERANCE = 3e-5


@pytest.fixture
def _kernel():
    needs_kernel()
    if not library.kernels().winograd_is_compiled():
        pytest.skip("this processor has no AVX-512")


def channels_last(*shape, dtype=torch.float32):
    return torch.randn(*shape).to(dtype, memory_format=torch.channels_last).requires_grad_()


def problem(b, inputs, outputs, h, w, *, biased=True, seed=0):
    """(x, weight, bias, gradient of the result)."""
    torch.manual_seed(seed)
    bias = torch.randn(outputs, requires_grad=True) if biased else None
    weight = channels_last(outputs, inputs, 3, 3)
    return channels_last(b, inputs, h, w), weight, bias, channels_last(b, outputs, h, w).detach()


def result_and_gradients(function, x, weight, bias, gradient):
    y = function(x, weight, bias)
    return [y.detach(), *torch.autograd.grad(y, [each for each in (x, weight, bias) if each is not None], gradient)]


def by_pytorch(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=1)


def exact(*given):
    doubles = [None if each is None else each.detach().double().requires_grad_() for each in given]
    return result_and_gradients(by_pytorch, *doubles)


def assert_near(actual, expected):
    for mine, other in zip(actual, expected, strict=True):
        assert mine.shape == other.shape
        assert float((mine - other).detach().norm()) <= TOLERANCE * float(other.detach().norm())


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60)
@given(
    b=st.integers(1, 7),
    inputs=st.integers(14, 83),
    outputs=st.integers(14, 83),
    h=st.integers(1, 6).map(lambda n: 4 * n),
    w=st.integers(1, 6).map(lambda n: 4 * n),
    biased=st.booleans(),
)
def test_values_and_gradients_are_those_in_float64(path, b, inputs, outputs, h, w, biased):
    given = problem(b, inputs, outputs, h, w, biased=biased)
    with running_on(path):
        assert_near(result_and_gradients(same_conv, *given), exact(*given))


@settings(max_examples=30)
@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    inputs=st.integers(1, 20),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_any_shape_and_type_is_convolved(h, w, inputs, dtype):
    x, weight, bias, _ = (each.detach().to(dtype) for each in problem(2, inputs, 17, h, w))
    expected = by_pytorch(x.double(), weight.double(), bias.double())
    y = same_conv(x, weight, bias)
    assert y.dtype == x.dtype
    assert float((y - expected).norm()) <= (TOLERANCE if dtype == torch.float32 else 1e-2) * float(expected.norm())


@pytest.mark.usefixtures("_kernel")
def test_the_kernel_is_used_where_it_can_be():
    x, weight, bias, _ = problem(2, 16, 24, 8, 12)
    assert winograd.is_compiled(x, weight)
    assert "_SameConv" in type(same_conv(x, weight, bias).grad_fn).__name__
    y = SameConv2d(16, 24).to(memory_format=torch.channels_last)(x)
    assert "_SameConv" in type(y.grad_fn).__name__


@pytest.mark.usefixtures("_kernel")
def test_what_it_cannot_take_is_pytorchs():
    x, weight, bias, _ = problem(2, 16, 24, 8, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.is_compiled(x, weight)
        assert same_conv(x, weight, bias).dtype == torch.bfloat16
    with flop_counter() as counter:
        result_and_gradients(same_conv, *problem(2, 16, 24, 8, 12))
    assert counter.get_total_flops() == 3 * 2 * 9 * 16 * 24 * 2 * 8 * 12
    for other in (x.contiguous(), x.double(), x[..., :7], x[..., :6], x.to("meta")):
        assert not winograd.is_compiled(other, weight)
    assert not winograd.is_compiled(x[:, :15].contiguous(memory_format=torch.channels_last), weight[:, :15])
    assert not winograd.is_compiled(x, weight[:15])
    assert not winograd.is_compiled(x, channels_last(24, 17, 3, 3))


@pytest.mark.parametrize("path", PATHS)
def test_it_can_be_mapped_by_vmap(path):
    x, weight, bias, _ = problem(6, 16, 24, 8, 8)
    with running_on(path):
        mapped = torch.func.vmap(lambda each: same_conv(each[None], weight, bias)[0])(x.detach())
    assert_near([mapped], [by_pytorch(x, weight, bias)])


@pytest.mark.parametrize("path", PATHS)
def test_second_derivatives_are_those_in_float64(path):
    def penalty(function, x, weight, bias, gradient):
        (by_x,) = torch.autograd.grad(function(x, weight, bias), x, gradient, create_graph=True)
        return torch.autograd.grad(by_x.square().sum(), weight)

    given = problem(2, 16, 24, 8, 8)
    doubles = [each.detach().double().requires_grad_() for each in given]
    with running_on(path):
        assert_near(penalty(same_conv, *given), penalty(by_pytorch, *doubles))


@pytest.mark.usefixtures("_kernel")
def test_an_image_is_the_same_in_every_batch():
    x, weight, bias, _ = problem(9, 24, 40, 12, 12)
    whole = same_conv(x, weight, bias)
    assert all(torch.equal(same_conv(x[i : i + 1], weight, bias)[0], whole[i]) for i in range(9))


def test_repeated_it_is_the_same_and_any_number_of_threads_agrees():
    given, before = problem(9, 24, 40, 12, 12), torch.get_num_threads()
    try:
        found = {}
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads], again = (result_and_gradients(same_conv, *given) for _ in range(2))
            assert all(map(torch.equal, found[threads], again))
    finally:
        torch.set_num_threads(before)
    assert_near(found[2], found[1])
    assert_near(found[3], found[1])


@pytest.mark.parametrize("path", PATHS)
def test_gradients_are_computed_for_what_wants_them(path):
    x, weight, bias, gradient = problem(2, 16, 24, 8, 8)
    with running_on(path):
        same_conv(x.detach(), weight, bias.detach()).backward(gradient)
        assert x.grad is bias.grad is None
        assert_near([weight.grad], [exact(x, weight, bias, gradient)[2]])


@pytest.mark.parametrize("path", PATHS)
def test_a_nan_or_an_infinity_does_not_vanish(path):
    x, weight, bias, _ = problem(1, 16, 16, 8, 8)
    for value in (float("nan"), float("inf")):
        spoilt = x.detach().clone(memory_format=torch.channels_last)
        spoilt[0, 3, 5, 5] = value
        with running_on(path):
            assert not same_conv(spoilt, weight, bias)[0, :, 5, 5].isfinite().any()


@pytest.mark.parametrize("path", PATHS)
def test_a_doubled_image_is_convolved_as_if_its_pixels_were_repeated(path):
    torch.manual_seed(0)
    layer = Upsample(24).to(memory_format=torch.channels_last)
    nn.init.normal_(layer.bias)
    x = channels_last(2, 24, 8, 4)
    with running_on(path):
        y = layer(x)
    repeated = x.double().repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert_near([y], [by_pytorch(repeated, layer.weight.double(), layer.bias.double())])
