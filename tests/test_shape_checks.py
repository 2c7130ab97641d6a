"""What has shapes is checked, also inside of functions and classes, and what has none is left as it is."""

import importlib
import sys

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from shape_checks import check_shapes, checked
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


MODULE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import jaxtyping
from jaxtyping import Float, Int as Whole
from torch import Tensor

Pair: TypeAlias = tuple[Float[Tensor, "n"], Whole[Tensor, "n"]]

def plain(x: int) -> int:
    return x

def paired(pair: Pair) -> None: ...

def listed(*, rows: list[Whole[Tensor, "n"]] | None = None) -> None: ...

def outer() -> None:
    def inner(x: int) -> Float[Tensor, "n"]:
        return x
    inner(1)

@dataclass(frozen=True)
class Point:
    x: Float[Tensor, "d"]

    @property
    def same(self) -> Float[Tensor, "2 d"]:
        return self.x

@dataclass(frozen=True)
class Name:
    text: str
"""


def test_every_place_of_a_shape_is_found(tmp_path, monkeypatch):
    (tmp_path / "module_with_shapes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    check_shapes(["module_with_shapes"])
    made = importlib.import_module("module_with_shapes")
    whole, half = torch.ones(3, dtype=torch.int64), torch.ones(3)
    made.paired((half, whole))
    made.listed(rows=[whole])
    point = made.Point(half)
    for wrong in (
        lambda: made.paired((half, half)),
        lambda: made.paired((torch.ones(2), whole)),
        lambda: made.listed(rows=[half]),
        made.outer,
        lambda: made.Point(torch.ones(2, 2)),
        lambda: point.same,
    ):
        with pytest.raises(TypeCheckError):
            wrong()
    assert made.plain("one") == "one"
    assert made.Name(1).text == 1
