"""Attention against its formula in double precision."""

import pytest
import torch

from gensweep.kernels.attention import MAX_PIXELS_IN_CACHE, attend, is_compiled


def by_formula(qkv):
    q, k, v = qkv.unbind(2)
    weights = torch.einsum("bihd,bjhd->bhij", q, k).div(q.shape[-1] ** 0.5).softmax(-1)
    return torch.einsum("bhij,bjhd->bihd", weights, v)


def problem(n, heads, d, dtype):
    torch.manual_seed(0)
    return torch.randn(2, n, 3, heads, d).to(dtype).requires_grad_(), torch.randn(2, n, heads, d).to(dtype)


@pytest.mark.parametrize(
    ("n", "heads", "d"), [(1, 1, 8), (16, 3, 24), (16, 3, 48), (64, 2, 64), (MAX_PIXELS_IN_CACHE + 1, 1, 16)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_results_and_gradients_are_those_of_the_formula(n, heads, d, dtype, tolerance):
    qkv, gradient = problem(n, heads, d, dtype)
    exact = qkv.detach().double().requires_grad_()
    y, expected = attend(qkv), by_formula(exact)
    mine, theirs = torch.autograd.grad(y, qkv, gradient)[0], torch.autograd.grad(expected, exact, gradient.double())[0]
    assert mine.dtype == y.dtype == dtype
    for result, right in ((y.detach(), expected.detach()), (mine, theirs)):
        assert float((result.double() - right).norm()) <= tolerance * float(right.norm()) + 1e-5


def test_the_kernel_keeps_scores_in_float32():
    qkv, gradient = problem(256, 3, 80, torch.bfloat16)
    qkv = (qkv.detach() * torch.tensor([16.0, 16.0, 1.0], dtype=torch.bfloat16).view(3, 1, 1)).requires_grad_()
    if not is_compiled(qkv):
        pytest.skip("there is no kernel of attention for this processor")
    exact = qkv.detach().double().requires_grad_()
    y, right = attend(qkv), by_formula(exact)
    # Rounded scores give 40 times that, and gradients that are 120 times that.
    assert float((y.detach().double() - right.detach()).norm()) <= 2**-8 * float(right.detach().norm())
    mine, theirs = torch.autograd.grad(y, qkv, gradient)[0], torch.autograd.grad(right, exact, gradient.double())[0]
    assert float((mine.double() - theirs).norm()) <= 2**-8 * float(theirs.norm())
