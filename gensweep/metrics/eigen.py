"""Eigenvalues and eigenvectors of a symmetric matrix, whatever finite numbers it holds."""

from __future__ import annotations

from contextlib import suppress

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.errors import GensweepError


def symmetric_eigen(matrix: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Eigenvalues in ascending order, and eigenvectors in columns; of the matrix only the lower triangle is read.

    PyTorch's solver divides and conquers.  With MKL that does not converge on some matrices of low rank or with many
    zeros, such as the scatter of features with dead units, and raises an error or returns NaN without a word; it
    depends on the number of threads too.  Then scipy computes in float64, by the QR iteration with Wilkinson's shifts,
    which converges on every symmetric matrix.
    Raises GensweepError if a number is NaN or infinite.
    Source: Wilkinson 1968 (convergence); LAPACK's syevd and syev.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise GensweepError("a matrix with NaN or infinite numbers has no eigenvalues")
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        if bool(torch.isfinite(eigenvalues).all() and torch.isfinite(vectors).all()):
            return eigenvalues, vectors
    eigenvalues, vectors = scipy.linalg.eigh(matrix.detach().cpu().double().numpy(), driver="ev")
    return torch.from_numpy(eigenvalues).to(matrix), torch.from_numpy(vectors).to(matrix)


def symmetric_eigenvalues(matrix: Float[Tensor, "d d"]) -> Float[Tensor, " d"]:
    """The eigenvalues of `symmetric_eigen` alone, in less time where PyTorch's solver converges."""
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        eigenvalues: Tensor = torch.linalg.eigvalsh(matrix)
        if bool(torch.isfinite(eigenvalues).all()):
            return eigenvalues
    return symmetric_eigen(matrix)[0]


def positive_eigen(matrix: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "d k"]]:
    """The positive eigenvalues of a positive semi-definite matrix that are no rounding errors, and their eigenvectors.

    The threshold is that of numpy's `matrix_rank`.
    """
    eigenvalues, vectors = symmetric_eigen(matrix)
    largest = eigenvalues[-1:].clamp(min=0)  # none of an empty matrix
    kept = eigenvalues > largest * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return eigenvalues[kept], vectors[:, kept]
