"""The compiled kernel against PyTorch's own operations, in double precision."""

import subprocess
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gensweep.nn import compiled
from gensweep.nn.layers import Dropout, group_norm
from gensweep.nn.norm_act import composed, is_fused, norm_act


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


def in_double(x, norm, scale_shift, gradient, **how):
    """The result and all gradients, by the composition in float64."""
    exact = nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps).double()
    exact.load_state_dict(norm.state_dict())
    x = x.detach().double().requires_grad_()
    scale_shift = None if scale_shift is None else scale_shift.detach().double().requires_grad_()
    return result_and_gradients(composed, x, exact, scale_shift, gradient.double(), **how)


def result_and_gradients(function, x, norm, scale_shift, gradient, **how):
    y = function(x, norm, scale_shift, **how)
    inputs = [x, norm.weight, norm.bias, *([] if scale_shift is None else [scale_shift])]
    return [y.detach(), *torch.autograd.grad(y, inputs, gradient)]


def assert_near(actual, expected, tolerance):
    for mine, exact in zip(actual, expected, strict=True):
        assert mine.shape == exact.shape
        assert float((mine.double() - exact).norm()) <= tolerance * float(exact.norm()) + 1e-4


@settings(max_examples=40, deadline=None)
@given(
    b=st.integers(1, 3),
    c=st.integers(1, 12).map(lambda n: 4 * n),
    h=st.integers(1, 9),
    w=st.integers(2, 9),
    conditional=st.booleans(),
    act=st.booleans(),
)
def test_values_and_gradients_are_those_of_the_composition(b, c, h, w, conditional, act):
    given = problem(b, c, h, w, torch.float32, conditional=conditional)
    assert_near(result_and_gradients(norm_act, *given, act=act), in_double(*given, act=act), 2e-5)


@pytest.mark.parametrize("act", [True, False])
def test_in_bfloat16_only_results_are_rounded(act):
    given = problem(2, 32, 16, 16, torch.bfloat16)
    result, *gradients = result_and_gradients(norm_act, *given, act=act)
    assert {each.dtype for each in (result, gradients[0], gradients[-1])} == {torch.bfloat16}
    assert_near([result, *gradients], in_double(*given, act=act), 4e-3)


def test_a_mean_far_from_zero_costs_no_digits():
    given = problem(2, 16, 32, 32, torch.float32, offset=300.0)
    assert_near(result_and_gradients(norm_act, *given), in_double(*given), 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_is_used_where_there_is_a_compiler(dtype):
    x, norm, *_ = problem(1, 8, 4, 4, dtype)
    assert is_fused(x, norm) == (compiled.compiler() is not None)


def test_other_layouts_types_and_transforms_take_the_composition():
    x, norm, *_ = problem(2, 8, 4, 4, torch.float32)
    assert not is_fused(x.detach().contiguous(), norm)
    assert not is_fused(x, nn.Identity())
    assert not is_fused(x, norm, dropout=nn.Identity())
    mapped = torch.func.vmap(lambda x: norm_act(x, norm))(torch.stack([x, 2 * x]).contiguous())
    torch.testing.assert_close(mapped[1], norm_act(2 * x, norm), rtol=1e-4, atol=1e-4)
    assert not is_fused(x.double(), norm.double())
    torch.testing.assert_close(norm_act(x.double(), norm), composed(x.double(), norm))


def test_a_nan_stays_one():
    x, norm, *_ = problem(1, 8, 4, 4, torch.float32)
    with torch.no_grad():
        x[0, 0, 0, 0] = float("nan")
        assert norm_act(x, norm)[0, 0].isnan().any()
        assert norm_act(x.bfloat16(), norm).isnan().any()


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask(p):
    x, norm, scale_shift, _ = problem(4, 32, 32, 32, torch.float32)
    dropout = Dropout(p)
    torch.manual_seed(1)
    y = norm_act(x, norm, scale_shift, act=False, dropout=dropout)
    whole = composed(x, norm, scale_shift, act=False)
    kept = y != 0
    assert float(kept.float().mean()) == pytest.approx(1 - p, abs=5e-3)
    torch.testing.assert_close(y[kept], (whole / (1 - p))[kept], rtol=1e-4, atol=1e-4)
    # Neither neighbours nor images nor channels share their fate.
    for moved in (kept.roll(1, 0), kept.roll(1, 1), kept.roll(1, 3)):
        assert float((kept & moved).float().mean()) == pytest.approx((1 - p) ** 2, abs=6e-3)
    gradient = torch.randn_like(y)
    mine = torch.autograd.grad(y, (x, norm.weight, norm.bias, scale_shift), gradient)
    masked = whole * kept / (1 - p)
    expected = torch.autograd.grad(masked, (x, norm.weight, norm.bias, scale_shift), gradient)
    assert_near(mine, [each.double() for each in expected], 2e-5)


def test_masks_follow_the_global_seed_and_are_off_in_evaluation():
    x, norm, *_ = problem(2, 8, 8, 8, torch.float32)

    def masked(seed, dropout):
        torch.manual_seed(seed)
        return norm_act(x, norm, dropout=dropout).detach()

    assert torch.equal(masked(1, Dropout(0.5)), masked(1, Dropout(0.5)))
    assert not torch.equal(masked(1, Dropout(0.5)), masked(2, Dropout(0.5)))
    assert torch.equal(masked(1, Dropout(0.5).eval()), masked(2, None))


def test_any_number_of_threads_computes_the_same():
    given = problem(5, 16, 8, 8, torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(result_and_gradients(norm_act, *given))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_a_library_is_made_once_by_however_many(tmp_path):
    compiler = compiled.compiler()
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(compiled.build(compiler, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths[0] == paths[1]
    assert list(tmp_path.iterdir()) == [paths[0]]


def test_without_a_compiler_that_works_there_are_no_kernels(tmp_path, monkeypatch):
    with pytest.raises((OSError, subprocess.SubprocessError)):
        compiled.build("false", tmp_path)
    monkeypatch.setenv(compiled.SWITCH, "0")
    assert compiled.kernels.__wrapped__() is None
    monkeypatch.delenv(compiled.SWITCH)
    monkeypatch.setattr(compiled, "compiler", lambda: "false")
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path))
    assert compiled.kernels.__wrapped__() is None
    monkeypatch.setattr(compiled, "compiler", lambda: None)
    assert compiled.kernels.__wrapped__() is None
