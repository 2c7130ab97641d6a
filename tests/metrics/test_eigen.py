"""The eigen-decomposition against numpy's, on matrices on which solvers have failed, with one and with two threads."""

import numpy as np
import pytest
import torch
from torch.linalg import LinAlgError

from gensweep.errors import GensweepError
from gensweep.metrics.frechet import positive_eigen, symmetric_eigen, symmetric_eigenvalues


def scatter(n: int, d: int, seed: int) -> torch.Tensor:
    """Of n images with rectified features, half of which are dead; in float32 MKL's solver fails on some of these."""
    x = (torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) - 1).relu()
    x[:, ::2] = 0
    x -= x.mean(0)
    return x.T @ x


FULL = torch.cov(torch.randn(60, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
MATRICES = {
    **{f"dead, small, {seed}": scatter(12, 300, seed) for seed in range(4)},
    "indefinite": FULL - FULL.flip(0, 1),
    "zero": torch.zeros(30, 30),
    "diagonal": torch.linspace(-3, 5, 30).diag(),
    "identity": torch.eye(30),
    "a single number": torch.tensor([[-2.5]]),
    "graded": torch.logspace(-12, 12, 60, dtype=torch.float64).diag() + FULL,
    "huge": FULL * 1e35,
    "tiny": FULL * 1e-36,
}


def raises(_: torch.Tensor) -> torch.Tensor:
    raise LinAlgError("failed to converge")


def gives_nan(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return matrix[0] * torch.nan, matrix * torch.nan


MACHINES = ["one thread", "two threads", "a solver that raises", "a solver that gives NaN"]


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """PyTorch's solvers as they are, or in the two ways in which MKL's do not converge."""
    before = torch.get_num_threads()
    torch.set_num_threads(2 if request.param == "two threads" else 1)
    if request.param == "a solver that raises":
        monkeypatch.setattr(torch.linalg, "eigh", raises)
        monkeypatch.setattr(torch.linalg, "eigvalsh", raises)
    if request.param == "a solver that gives NaN":
        monkeypatch.setattr(torch.linalg, "eigh", gives_nan)
        monkeypatch.setattr(torch.linalg, "eigvalsh", lambda matrix: gives_nan(matrix)[0])
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("machine", MACHINES, indirect=True)
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_numpys_and_makes_the_matrix_again(name: str, dtype: torch.dtype):
    matrix = MATRICES[name].to(dtype)
    expected = np.linalg.eigvalsh(matrix.double().numpy())
    reach = max(float(matrix.abs().max()), float(np.abs(expected).max())) or 1.0
    values, vectors = symmetric_eigen(matrix)
    assert values.dtype == vectors.dtype == dtype
    for found in (values, symmetric_eigenvalues(matrix)):
        np.testing.assert_allclose(found.double().numpy() / reach, expected / reach, rtol=0, atol=rounding(matrix))
    check(matrix, values, vectors, reach)


def rounding(matrix: torch.Tensor) -> float:
    return 10 * len(matrix) ** 0.5 * torch.finfo(matrix.dtype).eps


def check(matrix: torch.Tensor, values: torch.Tensor, vectors: torch.Tensor, reach: float) -> None:
    """That orthonormal vectors and these values make the matrix again."""
    values, vectors, bound = values.double() / reach, vectors.double(), rounding(matrix)
    torch.testing.assert_close((vectors * values) @ vectors.T, matrix.double() / reach, rtol=0, atol=bound)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(len(matrix)).double(), rtol=0, atol=bound)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("solve", [symmetric_eigen, symmetric_eigenvalues])
def test_a_matrix_that_is_not_finite_is_refused(solve, bad: float):
    with pytest.raises(GensweepError, match="a matrix with NaN or infinite numbers has no eigenvalues"):
        solve(torch.eye(3) * bad)


def test_zero_and_empty_matrices_have_no_positive_eigenvalue():
    for size in (0, 3):
        values, vectors = positive_eigen(torch.zeros(size, size, dtype=torch.float64))
        assert (values.shape, vectors.shape) == ((0,), (size, 0))
