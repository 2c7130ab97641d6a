"""Convolutions by the compiled kernels and by PyTorch, against float64 and against one another."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, needs_kernel, running_on
from packaging.version import Version
from torch.nn import functional as F

from gensweep.kernels import doubling_conv, halving_conv, library, same_conv, winograd
from gensweep.nn.layers import DoublingConv2d, HalvingConv2d, SameConv2d
from gensweep.training.cost import flop_counter

#: Relative errors of a whole tensor; PyTorch's own are 3e-3 in bfloat16.
TOLERANCES = {torch.float32: 3e-5, torch.bfloat16: 6e-3}
#: By name: the function, PyTorch's, the layer, and the side of the filters.
KINDS = {
    "same": (same_conv, partial(F.conv2d, padding=1), SameConv2d, 3),
    "dilated": (
        partial(same_conv, dilation=2),
        partial(F.conv2d, padding=2, dilation=2),
        partial(SameConv2d, dilation=2),
        3,
    ),
    "halving": (halving_conv, partial(F.conv2d, stride=2, padding=1), HalvingConv2d, 4),
    "doubling": (doubling_conv, partial(F.conv_transpose2d, stride=2, padding=1), DoublingConv2d, 4),
}
by_kind = pytest.mark.parametrize("kind", KINDS)
by_path = pytest.mark.parametrize("path", PATHS)
by_dtype = pytest.mark.parametrize("dtype", TOLERANCES)


@pytest.fixture
def _kernel():
    needs_kernel()
    if not library.kernels().winograd_is_compiled():
        pytest.skip("this processor has no AVX-512")


def has_kernel(dtype):
    return dtype == torch.float32 or winograd.takes_bfloat16()


def channels_last(*shape, dtype=torch.float32):
    return torch.randn(*shape).to(dtype, memory_format=torch.channels_last).requires_grad_()


def problem(kind, b, inputs, outputs, h, w, *, biased=True, seed=0, dtype=torch.float32):
    """(x, weight, bias, gradient of the result); images are of the type."""
    torch.manual_seed(seed)
    _, by_pytorch, _, side = KINDS[kind]
    bias = torch.randn(outputs, requires_grad=True) if biased else None
    filters = (inputs, outputs) if kind == "doubling" else (outputs, inputs)
    x, weight = channels_last(b, inputs, h, w, dtype=dtype), channels_last(*filters, side, side)
    return x, weight, bias, channels_last(*by_pytorch(x.float(), weight).shape, dtype=dtype).detach()


def result_and_gradients(function, x, weight, bias, gradient):
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y = function(x, weight, bias)
    return [y.detach(), *torch.autograd.grad(y, [each for each in (x, weight, bias) if each is not None], gradient)]


def doubled(*given):
    """The same problem in float64."""
    return [None if each is None else each.detach().double().requires_grad_() for each in given]


def assert_near(actual, expected, tolerance=TOLERANCES[torch.float32]):
    for mine, other in zip(actual, expected, strict=True):
        assert mine.shape == other.shape
        assert float((mine - other).detach().norm()) <= tolerance * float(other.detach().norm())


def compiled(y):
    return type(y.grad_fn).__name__.startswith("_Compiled")


@by_kind
@by_path
@by_dtype
@settings(max_examples=40)
@given(
    b=st.integers(1, 7),
    inputs=st.integers(14, 83),
    outputs=st.integers(14, 83),
    h=st.integers(1, 6).map(lambda n: 4 * n),
    w=st.integers(1, 6).map(lambda n: 4 * n),
    biased=st.booleans(),
)
def test_values_and_gradients_are_those_in_float64(kind, path, dtype, b, inputs, outputs, h, w, biased):
    if (kind, path, dtype) == ("dilated", "torch", torch.bfloat16) and Version(torch.__version__) < Version("2.13"):
        pytest.skip("PyTorch before 2.13 has errors of up to 7.5e-3 here on processors without AVX-512")
    function, by_pytorch, *_ = KINDS[kind]
    given = problem(kind, b, inputs, outputs, h, w, biased=biased, dtype=dtype)
    with running_on(path):
        found = result_and_gradients(function, *given)
    assert_near(found, result_and_gradients(by_pytorch, *doubled(*given)), TOLERANCES[dtype])
    assert [each.dtype for each in found] == [dtype, dtype, *[torch.float32] * (1 + biased)]


@by_kind
@pytest.mark.usefixtures("_kernel")
def test_compiled_layers_count_the_operations_of_pytorchs(kind):
    function, by_pytorch, layer, _ = KINDS[kind]
    x, weight, bias, _ = problem(kind, 2, 16, 24, 8, 16)
    assert compiled(layer(16, 24).to(memory_format=torch.channels_last)(x))
    counts = []
    for each in (function, by_pytorch):
        with flop_counter() as counter:
            result_and_gradients(each, x, weight, bias, function(x, weight, bias).detach())
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@by_kind
@by_path
@by_dtype
def test_second_derivatives_are_those_in_float64(kind, path, dtype):
    def of_a_penalty(function, x, weight, bias, gradient):
        with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
            y = function(x, weight, bias)
        first = torch.autograd.grad(y, [x, weight], gradient, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), [x, weight])

    function, by_pytorch, *_ = KINDS[kind]
    given = problem(kind, 2, 16, 24, 8, 8, dtype=dtype)
    with running_on(path):
        found = of_a_penalty(function, *given)
    assert_near(found, of_a_penalty(by_pytorch, *doubled(*given)), 2 * TOLERANCES[dtype])


@by_kind
@by_dtype
@pytest.mark.usefixtures("_kernel")
def test_an_image_is_the_same_in_every_batch(kind, dtype):
    if not has_kernel(dtype):
        pytest.skip("there is no such kernel for this processor")
    function, *_ = KINDS[kind]
    x, weight, bias, _ = problem(kind, 9, 24, 40, 8, 16, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        whole = function(x, weight, bias)
        assert all(torch.equal(function(x[i : i + 1], weight, bias)[0], whole[i]) for i in range(9))


@by_kind
@by_dtype
def test_repeated_it_is_the_same_and_any_number_of_threads_agrees(kind, dtype):
    function, *_ = KINDS[kind]
    given, before = problem(kind, 9, 24, 40, 16, 16, dtype=dtype), torch.get_num_threads()
    try:
        found = {}
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads], again = (result_and_gradients(function, *given) for _ in range(2))
            assert all(map(torch.equal, found[threads], again))
    finally:
        torch.set_num_threads(before)
    assert_near(found[2], found[1], TOLERANCES[dtype])
    assert_near(found[3], found[1], TOLERANCES[dtype])


@by_kind
@by_path
@by_dtype
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_vanish(kind, path, dtype, value):
    function, by_pytorch, *_ = KINDS[kind]
    x, weight, bias, _ = problem(kind, 1, 16, 16, 8, 8, dtype=dtype)
    spoilt = x.detach().clone(memory_format=torch.channels_last)
    spoilt[0, 3, 5, 5] = value
    with running_on(path), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = function(spoilt, weight, bias)
    assert not y.isfinite()[~by_pytorch(spoilt.float(), weight, bias).isfinite()].any()
