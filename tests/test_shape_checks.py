"""A function inside of another one is checked each time that it is made, by what was made for the first."""

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from shape_checks import checked
from torch import Tensor


def doubling(factor):
    @jaxtyped(typechecker=checked)
    def double(x: Float[Tensor, "b w"], shift: float = 0.0) -> Float[Tensor, "w b"]:
        return factor * x + shift

    return double


def test_arguments_and_results_are_checked_in_every_function_that_is_made():
    for factor in (2.0, 3.0):
        double = doubling(factor)
        square = torch.ones(2, 2)
        assert torch.equal(double(square, 1.0), factor * square + 1.0)
        with pytest.raises(TypeCheckError, match="parameters"):
            double(torch.ones(2))
        with pytest.raises(TypeCheckError, match="parameters"):
            double(square, "one")
        with pytest.raises(TypeCheckError, match="return value"):
            double(torch.ones(2, 3))


def test_the_package_is_checked_by_it():
    from gensweep.diffusion.schedules import linear

    with pytest.raises(TypeCheckError):
        linear("ten")
