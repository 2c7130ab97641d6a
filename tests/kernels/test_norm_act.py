"""The compiled kernel and the composition of PyTorch's operations, against float64 and against one another."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, needs_kernel, running_on
from torch import nn

from gensweep.kernels import norm_act
from gensweep.kernels.norm_act import Dropout, composed, is_compiled
from gensweep.nn.layers import group_norm

#: Relative errors of a whole tensor.  In bfloat16 the composition rounds after each operation, the kernel once.
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2e-2}


def problem(b, c, h, w, dtype, *, conditional=True, offset=0.0, seed=0):
    """(x, norm, scale_shift, gradient of the result), channels-last."""
    torch.manual_seed(seed)
    norm = group_norm(c)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (offset + torch.randn(b, c, h, w)).to(dtype, memory_format=torch.channels_last).requires_grad_()
    scale_shift = torch.randn(b, 2 * c).to(dtype).requires_grad_() if conditional else None
    gradient = torch.randn(b, c, h, w).to(dtype, memory_format=torch.channels_last)
    return x, norm, scale_shift, gradient


def doubled(x, norm, scale_shift, gradient):
    """The same problem in float64."""
    exact = nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps).double()
    exact.load_state_dict(norm.state_dict())
    x, scale_shift = (None if each is None else each.detach().double().requires_grad_() for each in (x, scale_shift))
    return x, exact, scale_shift, gradient.double()


def in_double(*given, **how):
    """The result and all gradients, by the composition in float64."""
    return result_and_gradients(composed, *doubled(*given), **how)


def inputs(x, norm, scale_shift):
    return [each for each in (x, norm.weight, norm.bias, scale_shift) if each is not None]


def result_and_gradients(function, x, norm, scale_shift, gradient, **how):
    y = function(x, norm, scale_shift, **how)
    return [y.detach(), *torch.autograd.grad(y, inputs(x, norm, scale_shift), gradient)]


def assert_near(actual, expected, tolerance, absolute=1e-4):
    for mine, exact in zip(actual, expected, strict=True):
        assert mine.shape == exact.shape
        assert float((mine.double() - exact.double()).norm()) <= tolerance * float(exact.double().norm()) + absolute


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40)
@given(
    b=st.integers(1, 3),
    c=st.integers(1, 12).map(lambda n: 4 * n),
    h=st.integers(1, 9),
    w=st.integers(2, 9),
    conditional=st.booleans(),
    act=st.booleans(),
)
def test_values_and_gradients_are_those_in_float64(path, b, c, h, w, conditional, act):
    given = problem(b, c, h, w, torch.float32, conditional=conditional)
    with running_on(path):
        assert_near(result_and_gradients(norm_act, *given, act=act), in_double(*given, act=act), 2e-5)


LAYOUTS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "contiguous": torch.Tensor.contiguous,
    "every_other_column": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "images_last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
}


@settings(max_examples=150)
@given(
    b=st.integers(0, 3),
    c=st.integers(4, 20),
    h=st.integers(1, 7),  # PyTorch refuses images without pixels from 2.15 on
    w=st.integers(1, 7),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    layout=st.sampled_from([*LAYOUTS]),
    conditional=st.booleans(),
    affine=st.booleans(),
    act=st.booleans(),
    p=st.sampled_from([None, 0.0, 0.3]),
)
def test_both_paths_agree_on_every_shape_layout_and_type(b, c, h, w, dtype, layout, conditional, affine, act, p):
    needs_kernel()
    torch.manual_seed(0)
    like = group_norm(c)
    norm = nn.GroupNorm(like.num_groups, c, affine=affine)
    norm = norm.double() if dtype == torch.float64 else norm
    x, gradient = (LAYOUTS[layout](torch.randn(b, c, h, w).to(dtype)) for _ in range(2))
    scale_shift = torch.randn(b, 2 * c).to(dtype).requires_grad_() if conditional else None
    given, wanted = (x.requires_grad_(), norm, scale_shift), [x, *norm.parameters(), *[scale_shift][:conditional]]
    results, states = [], []
    for path in PATHS:
        torch.manual_seed(1)
        with running_on(path):
            y = norm_act(*given, act=act, dropout=None if p is None else Dropout(p))
            results.append([y.detach(), *torch.autograd.grad(y, wanted, gradient)])
        states.append(torch.get_rng_state())
    compiled, plain = results
    assert torch.equal(*states)
    assert [each.dtype for each in compiled] == [each.dtype for each in plain]
    if not is_compiled(*given):
        torch.testing.assert_close(compiled, plain, rtol=0, atol=0)
    else:
        assert torch.equal(compiled[0] == 0, plain[0] == 0)
        assert_near(compiled, plain, TOLERANCES[dtype])


def test_a_mean_far_from_zero_costs_the_kernel_no_digits():
    needs_kernel()
    given = problem(2, 16, 32, 32, torch.float32, offset=300.0)
    assert_near(result_and_gradients(norm_act, *given), in_double(*given), 1e-3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("conditional", [True, False])
def test_second_derivatives_are_those_in_float64(path, p, conditional):
    given = problem(2, 8, 3, 5, torch.float32, conditional=conditional)

    def gradients_of_a_penalty(x, norm, scale_shift, gradient):
        torch.manual_seed(1)
        # The condition is made from x too, so that a gradient that flows twice through it shows.
        condition = None if scale_shift is None else scale_shift + x.mean(dim=(1, 2, 3))[:, None]
        y = norm_act(x, norm, condition, dropout=Dropout(p))
        first = torch.autograd.grad(y, inputs(x, norm, scale_shift), gradient, create_graph=True)
        penalty = sum((each**2).sum() for each in first)
        return [each.detach() for each in (*first, *torch.autograd.grad(penalty, inputs(x, norm, scale_shift)))]

    with running_on(path):
        actual = gradients_of_a_penalty(*given)
    assert_near(actual, gradients_of_a_penalty(*doubled(*given)), 1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_a_nan_stays_one(path):
    x, norm, *_ = problem(1, 8, 4, 4, torch.float32)
    with running_on(path), torch.no_grad():
        x[0, 0, 0, 0] = float("nan")
        assert norm_act(x, norm)[0, 0].isnan().any()
        assert norm_act(x.bfloat16(), norm).isnan().any()


def test_any_number_of_threads_computes_the_same():
    needs_kernel()
    given = problem(5, 16, 8, 8, torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(result_and_gradients(norm_act, *given))
    finally:
        torch.set_num_threads(before)
    assert all(itertools.starmap(torch.equal, zip(*results, strict=True)))
