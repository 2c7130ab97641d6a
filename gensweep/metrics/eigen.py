"""Eigenvalues and eigenvectors of a symmetric matrix, whatever finite numbers it holds."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.errors import GensweepError

__all__ = ["symmetric_eigen", "symmetric_eigenvalues"]


def symmetric_eigen(matrix: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Eigenvalues in ascending order, and eigenvectors in columns; of the matrix only the lower triangle is read.

    PyTorch's solver divides and conquers.  With MKL that does not converge on some matrices of low rank or with many
    zeros, such as the scatter of features with dead units, and raises an error or returns NaN without a word; it
    depends on the number of threads too.  Then scipy computes in float64, by the QR iteration with Wilkinson's shifts,
    which converges on every symmetric matrix.
    Raises GensweepError if a number is NaN or infinite.
    Source: Wilkinson 1968 (convergence); LAPACK's syevd and syev.
    """
    _require_finite_matrix(matrix)
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        if bool(torch.isfinite(eigenvalues).all() and torch.isfinite(vectors).all()):
            return eigenvalues, vectors
    eigenvalues, vectors = (torch.from_numpy(part).to(matrix) for part in scipy.linalg.eigh(_wide(matrix), driver="ev"))
    return eigenvalues, vectors


def symmetric_eigenvalues(matrix: Float[Tensor, "d d"]) -> Float[Tensor, " d"]:
    """The eigenvalues of `symmetric_eigen` alone, in less time."""
    _require_finite_matrix(matrix)
    eigenvalues: Tensor
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        eigenvalues = torch.linalg.eigvalsh(matrix)
        if bool(torch.isfinite(eigenvalues).all()):
            return eigenvalues
    eigenvalues = torch.from_numpy(scipy.linalg.eigvalsh(_wide(matrix), driver="ev")).to(matrix)
    return eigenvalues


def _wide(matrix: Float[Tensor, "d d"]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    wide: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = matrix.detach().cpu().double().numpy()
    return wide


def _require_finite_matrix(matrix: Float[Tensor, "d d"]) -> None:
    if not bool(torch.isfinite(matrix).all()):
        raise GensweepError("a matrix with NaN or infinite numbers has no eigenvalues")
